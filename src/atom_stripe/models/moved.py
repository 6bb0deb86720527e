"""
Readers of what Stripe moved: the same attribute gives the same answer, whichever API version wrote the object.

An event keeps the API version in which it was written, so a service that upgrades goes on reading older shapes for as long as it
keeps events. Each reader looks at the newest place first and then at the older ones. The raw fields remain what they are:
``invoice["subscription"]`` reads that field and nothing else.

Where Stripe puts either an id or the whole object, the reader whose name ends in ``_id`` gives the id in both cases.

Rule: a reader never raises, whatever is in the object. What cannot be read is ``None``.
"""

# A reader says what Stripe documents for these places. Nothing could check it: objects are read without validation.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from atom_stripe.models.base import ListObject, View, read

if TYPE_CHECKING:
    from atom_stripe.models.base import StripeObject
    from atom_stripe.models.charge import Charge
    from atom_stripe.models.checkout_session import CheckoutSession
    from atom_stripe.models.coupon import Coupon
    from atom_stripe.models.discount import Discount
    from atom_stripe.models.invoice import Invoice
    from atom_stripe.models.invoice_item import InvoiceItem
    from atom_stripe.models.payment_intent import PaymentIntent
    from atom_stripe.models.price import Price
    from atom_stripe.models.product import Product
    from atom_stripe.models.refund import Refund
    from atom_stripe.models.subscription import Subscription
    from atom_stripe.models.subscription_item import SubscriptionItem


class _Readers:
    __slots__ = ()

    if TYPE_CHECKING:
        _raw: dict[str, Any]


class SubscriptionReaders(_Readers):
    """What Stripe moved away from the top of a subscription. Source: https://docs.stripe.com/api/subscriptions/object"""

    __slots__ = ()

    @property
    def current_period_start(self) -> int | None:
        """
        The start of the current period, in Unix seconds: of the same period as ``current_period_end``.

        Moved in 2025-03-31.basil from the subscription to each of its items.
        """
        return _current_period(self._raw)[0]

    @property
    def current_period_end(self) -> int | None:
        """
        The end of the current period, in Unix seconds.

        Moved in 2025-03-31.basil from the subscription to each of its items, which can now have different periods. Then this is the
        period that ends first: as before, Stripe makes the next invoice at this moment, and access that is granted until then never
        lasts longer than what was paid for. To grant access item by item, read ``items.data[].current_period_end``. Items that
        Stripe did not send with the subscription (``items.has_more``) are not looked at.
        """
        return _current_period(self._raw)[1]

    @property
    def discounts(self) -> list[str | Discount]:
        """The discounts of the subscription. Older versions have a single one, in ``discount``."""
        return _discounts(self._raw)

    @property
    def discount(self) -> str | Discount | None:
        """The discount, ``None`` if there are several. Removed in 2025-03-31.basil in favour of ``discounts``."""
        return _find(self._raw, "discount") or _only(self.discounts)


class InvoiceReaders(_Readers):
    """What Stripe moved away from the top of an invoice. Source: https://docs.stripe.com/api/invoices/object"""

    __slots__ = ()

    @property
    def subscription(self) -> str | Subscription | None:
        """The subscription that this invoice bills. Moved in 2025-03-31.basil to ``parent.subscription_details``."""
        return _find(self._raw, "parent.subscription_details.subscription", "subscription")

    @property
    def subscription_id(self) -> str | None:
        """The id of ``subscription``."""
        return _id(self.subscription)

    @property
    def subscription_details(self) -> Invoice.Parent.SubscriptionDetails | None:
        """
        The subscription's metadata at the time of the invoice; from 2025-03-31.basil on also the subscription itself.

        Moved in 2025-03-31.basil to ``parent.subscription_details``.
        """
        from atom_stripe.models.invoice import Invoice  # that module imports this one

        details = _dict(self._raw, "parent.subscription_details") or _dict(self._raw, "subscription_details")
        return Invoice.Parent.SubscriptionDetails.from_stripe(details) if details else None

    @property
    def quote(self) -> str | StripeObject | None:
        """The quote that this invoice came from. Moved in 2025-03-31.basil to ``parent.quote_details``."""
        return _find(self._raw, "parent.quote_details.quote", "quote")

    @property
    def payment_intent(self) -> str | PaymentIntent | None:
        """
        The payment intent that collects this invoice.

        Moved in 2025-03-31.basil to ``payments.data[].payment``, which Stripe sends only if it is asked to
        (``expand=["payments"]``). Without it, as in every webhook, this is ``None`` although there may be a payment: list the
        invoice's payments then. Of several payments it is the one that Stripe calls the default, unless that was canceled.
        """
        return _find(_payment(self._raw), "payment_intent") or _find(self._raw, "payment_intent")

    @property
    def payment_intent_id(self) -> str | None:
        """The id of ``payment_intent``."""
        return _id(self.payment_intent)

    @property
    def charge(self) -> str | Charge | None:
        """
        The latest charge for this invoice.

        Moved in 2025-03-31.basil. Where there is a payment intent, the charge is its ``latest_charge``: this needs
        ``expand=["payments.data.payment.payment_intent"]`` and is ``None`` without.
        """
        return _find(_payment(self._raw), "charge", "payment_intent.latest_charge") or _find(self._raw, "charge")

    @property
    def charge_id(self) -> str | None:
        """The id of ``charge``."""
        return _id(self.charge)

    @property
    def confirmation_client_secret(self) -> str | None:
        """
        The client secret with which a browser confirms the payment of this invoice. It is a secret: keep it out of logs.

        Moved in 2025-03-31.basil from the payment intent to ``confirmation_secret``. Either must be asked for:
        ``expand=["confirmation_secret"]``, before basil ``expand=["payment_intent"]``.
        """
        return (
            _exact(self._raw, "confirmation_secret.client_secret", str)
            or _exact(_payment(self._raw), "payment_intent.client_secret", str)
            or _exact(self._raw, "payment_intent.client_secret", str)
        )

    @property
    def paid(self) -> bool:
        """Whether the invoice is paid. Removed in 2025-03-31.basil in favour of ``status``, which older versions have too."""
        status = _exact(self._raw, "status", str)
        return status == "paid" if status else _exact(self._raw, "paid", bool) is True

    @property
    def paid_out_of_band(self) -> bool | None:
        """
        Whether the invoice was paid outside of Stripe, in cash or by bank transfer; ``None`` where Stripe does not say.

        Removed in 2025-03-31.basil. Later versions say how much it was, in ``amount_paid_off_stripe``.
        """
        outside = _exact(self._raw, "amount_paid_off_stripe", int)
        return _exact(self._raw, "paid_out_of_band", bool) if outside is None else self.paid and outside > 0

    @property
    def tax(self) -> int | None:
        """
        The tax on this invoice, in minor units; ``None`` if there is none.

        Removed in 2025-03-31.basil, where it is the sum of ``total_taxes``.
        """
        amounts = [amount for tax in _list(self._raw, "total_taxes") if (amount := _exact(tax, "amount", int)) is not None]
        return sum(amounts) if amounts else _exact(self._raw, "tax", int)

    @property
    def discounts(self) -> list[str | Discount]:
        """The discounts of the invoice. Older versions have a single one, in ``discount``."""
        return _discounts(self._raw)

    @property
    def discount(self) -> str | Discount | None:
        """The discount, ``None`` if there are several. Removed in 2025-03-31.basil in favour of ``discounts``."""
        return _find(self._raw, "discount") or _only(self.discounts)


class InvoiceLineItemReaders(_Readers):
    """What Stripe moved away from the top of an invoice's line. Source: https://docs.stripe.com/api/invoice-line-item/object"""

    __slots__ = ()

    @property
    def price(self) -> str | Price | None:
        """
        The price of the line: the object before 2025-03-31.basil, its id afterwards. ``price_id`` is the id in all versions.

        Moved in 2025-03-31.basil to ``pricing.price_details``.
        """
        return _find(self._raw, "pricing.price_details.price", "price")

    @property
    def price_id(self) -> str | None:
        """The id of ``price``."""
        return _id(self.price)

    @property
    def product(self) -> str | Product | None:
        """The product of the line. Moved in 2025-03-31.basil from the price to ``pricing.price_details``."""
        return _find(self._raw, "pricing.price_details.product", "price.product")

    @property
    def product_id(self) -> str | None:
        """The id of ``product``."""
        return _id(self.product)

    @property
    def subscription_item(self) -> str | SubscriptionItem | None:
        """The subscription item that made this line. Moved in 2025-03-31.basil to ``parent.subscription_item_details``."""
        return _find(self._raw, "parent.subscription_item_details.subscription_item", "subscription_item")

    @property
    def invoice_item(self) -> str | InvoiceItem | None:
        """The invoice item that made this line. Moved in 2025-03-31.basil to the details in ``parent``."""
        item = _find(self._raw, "parent.invoice_item_details.invoice_item", "parent.subscription_item_details.invoice_item")
        return item or _find(self._raw, "invoice_item")

    @property
    def proration(self) -> bool:
        """Whether the line is a proration. Moved in 2025-03-31.basil to the details in ``parent``."""
        details = ("parent.subscription_item_details.proration", "parent.invoice_item_details.proration")
        return _find(self._raw, *details, "proration") is True


class InvoiceItemReaders(_Readers):
    """What Stripe moved away from the top of an invoice item. Source: https://docs.stripe.com/api/invoiceitems/object"""

    __slots__ = ()

    @property
    def price(self) -> str | Price | None:
        """
        The price of the item: the object before 2025-03-31.basil, its id afterwards. ``price_id`` is the id in all versions.

        Moved in 2025-03-31.basil to ``pricing.price_details``.
        """
        return _find(self._raw, "pricing.price_details.price", "price")

    @property
    def price_id(self) -> str | None:
        """The id of ``price``."""
        return _id(self.price)

    @property
    def unit_amount_decimal(self) -> Decimal | None:
        """The amount for one unit, in minor units with at most 12 decimals. Moved in 2025-03-31.basil to ``pricing``."""
        sent = _exact(self._raw, "pricing.unit_amount_decimal", str) or _exact(self._raw, "unit_amount_decimal", str)
        amount = read(sent, Decimal)
        return amount if isinstance(amount, Decimal) else None

    @property
    def subscription(self) -> str | Subscription | None:
        """The subscription that the item belongs to. Moved in 2025-03-31.basil to ``parent.subscription_details``."""
        return _find(self._raw, "parent.subscription_details.subscription", "subscription")

    @property
    def subscription_id(self) -> str | None:
        """The id of ``subscription``."""
        return _id(self.subscription)

    @property
    def subscription_item(self) -> str | None:
        """The id of the subscription item that made this item. Moved in 2025-03-31.basil to ``parent.subscription_details``."""
        return _id(_find(self._raw, "parent.subscription_details.subscription_item", "subscription_item"))


class CreditNoteReaders(_Readers):
    """What Stripe moved away from the top of a credit note. Source: https://docs.stripe.com/api/credit_notes/object"""

    __slots__ = ()

    @property
    def refund(self) -> str | Refund | None:
        """The refund of this credit note, ``None`` if there are several. Moved in 2025-03-31.basil to ``refunds[].refund``."""
        return _find(_only(_list(self._raw, "refunds")), "refund") or _find(self._raw, "refund")


class DiscountReaders(_Readers):
    """What Stripe moved away from the top of a discount. Source: https://docs.stripe.com/api/discounts/object"""

    __slots__ = ()

    @property
    def coupon(self) -> str | Coupon | None:
        """
        The coupon behind the discount: the object before 2025-09-30.clover; afterwards its id, unless it was expanded.

        Moved in 2025-09-30.clover to ``source``.
        """
        return _find(self._raw, "source.coupon", "coupon")

    @property
    def coupon_id(self) -> str | None:
        """The id of ``coupon``."""
        return _id(self.coupon)


class PromotionCodeReaders(_Readers):
    """What Stripe moved away from the top of a promotion code. Source: https://docs.stripe.com/api/promotion_codes/object"""

    __slots__ = ()

    @property
    def coupon(self) -> str | Coupon | None:
        """
        The coupon behind the code: the object before 2025-09-30.clover; afterwards its id, unless it was expanded.

        Moved in 2025-09-30.clover to ``promotion``.
        """
        return _find(self._raw, "promotion.coupon", "coupon")

    @property
    def coupon_id(self) -> str | None:
        """The id of ``coupon``."""
        return _id(self.coupon)


class PaymentIntentReaders(_Readers):
    """What Stripe moved away from the top of a payment intent. Source: https://docs.stripe.com/api/payment_intents/object"""

    __slots__ = ()

    @property
    def latest_charge(self) -> str | Charge | None:
        """
        The latest charge of this payment: its id, or the object where it was expanded.

        Before 2022-11-15 this is the first entry of ``charges``.
        """
        return _find(self._raw, "latest_charge") or read(next(iter(_list(self._raw, "charges.data")), None))

    @property
    def latest_charge_id(self) -> str | None:
        """The id of ``latest_charge``."""
        return _id(self.latest_charge)

    @property
    def charges(self) -> ListObject[Charge]:
        """
        The charges of this payment, latest first.

        Removed in 2022-11-15. In later versions the list holds the latest charge, if that was expanded, and says that there may be
        more: ``charges.data[0]`` goes on working, while iterating, which would leave out earlier attempts, raises ``ValueError``.
        """
        sent = _dict(self._raw, "charges")
        if sent is None:
            latest = _dict(self._raw, "latest_charge")
            sent = {
                "object": "list",
                "data": [latest] if latest else [],
                "has_more": self._raw.get("latest_charge") is not None,
                "url": f"/v1/charges?payment_intent={self._raw.get('id')}",
            }
        return read(sent, ListObject)

    @property
    def invoice(self) -> str | Invoice | None:
        """The invoice that this pays. Removed in 2025-03-31.basil, where it is ``None``: list the invoice payments instead."""
        return _find(self._raw, "invoice")


class ChargeReaders(_Readers):
    """What Stripe removed from a charge. Source: https://docs.stripe.com/api/charges/object"""

    __slots__ = ()

    @property
    def invoice(self) -> str | Invoice | None:
        """
        The invoice that this charge paid.

        Removed in 2025-03-31.basil, where it is ``None``: list the invoice payments of the payment intent instead.
        """
        return _find(self._raw, "invoice")


class CheckoutSessionReaders(_Readers):
    """What Stripe moved away from the top of a Checkout Session. Source: https://docs.stripe.com/api/checkout/sessions/object"""

    __slots__ = ()

    @property
    def shipping_details(self) -> CheckoutSession.CollectedInformation.ShippingDetails | None:
        """
        The name and address to ship to.

        Called ``shipping`` before 2022-08-01; moved in 2025-03-31.basil to ``collected_information``.
        """
        from atom_stripe.models.checkout_session import CheckoutSession  # that module imports this one

        places = ("collected_information.shipping_details", "shipping_details", "shipping")
        details = next((found for place in places if (found := _dict(self._raw, place))), None)
        return CheckoutSession.CollectedInformation.ShippingDetails.from_stripe(details) if details else None


class ProductReaders(_Readers):
    """What Stripe renamed in a product. Source: https://docs.stripe.com/api/products/object"""

    __slots__ = ()

    @property
    def marketing_features(self) -> list[Product.MarketingFeature]:
        """The features to show to buyers. Called ``features`` before 2024-04-10."""
        from atom_stripe.models.product import Product  # that module imports this one

        features = _list(self._raw, "marketing_features") or _list(self._raw, "features")
        return [feature for feature in read(features, Product.MarketingFeature) if isinstance(feature, Product.MarketingFeature)]


def _value(raw: Any, path: str) -> Any:
    """Return what is at *path* (``"parent.quote_details"``) in a JSON value, ``None`` if nothing is."""
    for name in path.split("."):
        if type(raw) is not dict:
            return None
        raw = cast("dict[str, Any]", raw).get(name)
    return raw


def _exact(raw: Any, path: str, kind: type) -> Any:
    value = _value(raw, path)
    # Not isinstance: true is no amount.
    return value if type(value) is kind else None


def _dict(raw: Any, path: str) -> dict[str, Any] | None:
    return _exact(raw, path, dict)


def _list(raw: Any, path: str) -> list[Any]:
    return _exact(raw, path, list) or []


def _find(raw: Any, *paths: str) -> Any:
    """Return the first value that is at one of *paths*, as attributes return it."""
    return read(next((value for path in paths if (value := _value(raw, path)) is not None), None))


def _id(value: Any) -> str | None:
    identity = value["id"] if isinstance(value, View) and "id" in value else value
    return identity if isinstance(identity, str) else None


def _only(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else None


def _discounts(raw: dict[str, Any]) -> list[Any]:
    single = _find(raw, "discount")
    return read(_list(raw, "discounts")) or ([] if single is None else [single])


def _current_period(raw: dict[str, Any]) -> tuple[int | None, int | None]:
    periods = [
        (_exact(item, "current_period_end", int), _exact(item, "current_period_start", int)) for item in _list(raw, "items.data")
    ]
    known = [(end, start) for end, start in periods if end is not None and start is not None]
    if known:
        # Of items that end together, the one that was there first: one added in mid-period may have started later.
        end, start = min(known)
        return start, end
    return _exact(raw, "current_period_start", int), _exact(raw, "current_period_end", int)


def _payment(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return the payment that the ``payment_intent`` of an invoice was: the default one unless canceled, else one that paid."""

    def rank(entry: Any) -> tuple[bool, bool, bool]:
        status = _value(entry, "status")
        return status == "canceled", _value(entry, "is_default") is not True, status != "paid"

    return _dict(min(_list(raw, "payments.data"), key=rank, default=None), "payment")
