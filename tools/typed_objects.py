"""
The objects of Stripe's that this package types, as Stripe names them in ``object`` and as we name their class.

Both generators read this table: the one of ``models/`` writes a class for each entry, and the one of ``resources/`` says with it
what an operation returns. An object that is not here is a ``StripeObject``. To type one more, add its line and run
``python tools/generate.py``.
"""

from __future__ import annotations

TYPED: dict[str, str] = {
    # Payments.
    "payment_intent": "PaymentIntent",
    "setup_intent": "SetupIntent",
    "payment_method": "PaymentMethod",
    "charge": "Charge",
    "refund": "Refund",
    "dispute": "Dispute",
    # Customers and what they buy.
    "customer": "Customer",
    "product": "Product",
    "price": "Price",
    "coupon": "Coupon",
    "promotion_code": "PromotionCode",
    "discount": "Discount",
    # Billing.
    "subscription": "Subscription",
    "subscription_item": "SubscriptionItem",
    "subscription_schedule": "SubscriptionSchedule",
    "invoice": "Invoice",
    "line_item": "InvoiceLineItem",
    "invoice_payment": "InvoicePayment",
    "invoiceitem": "InvoiceItem",
    "credit_note": "CreditNote",
    # Pages that Stripe hosts.
    "checkout.session": "CheckoutSession",
    "billing_portal.session": "BillingPortalSession",
    "payment_link": "PaymentLink",
    # Money on its way to a bank.
    "balance": "Balance",
    "balance_transaction": "BalanceTransaction",
    "payout": "Payout",
    "transfer": "Transfer",
    "transfer_reversal": "TransferReversal",
    # Connect.
    "account": "Account",
    "account_link": "AccountLink",
    "capability": "Capability",
    # Everything else.
    "event": "Event",
    "webhook_endpoint": "WebhookEndpoint",
    "test_helpers.test_clock": "TestClock",
    "file": "File",
}
