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
    "mandate": "Mandate",
    "setup_attempt": "SetupAttempt",
    "review": "Review",
    "radar.early_fraud_warning": "EarlyFraudWarning",
    # Customers and what they buy.
    "customer": "Customer",
    "tax_id": "TaxId",
    "customer_balance_transaction": "CustomerBalanceTransaction",
    "cash_balance": "CashBalance",
    "customer_cash_balance_transaction": "CustomerCashBalanceTransaction",
    "product": "Product",
    "price": "Price",
    "plan": "Plan",
    "coupon": "Coupon",
    "promotion_code": "PromotionCode",
    "discount": "Discount",
    "shipping_rate": "ShippingRate",
    "tax_rate": "TaxRate",
    # Billing.
    "subscription": "Subscription",
    "subscription_item": "SubscriptionItem",
    "subscription_schedule": "SubscriptionSchedule",
    "invoice": "Invoice",
    "line_item": "InvoiceLineItem",
    "invoice_payment": "InvoicePayment",
    "invoiceitem": "InvoiceItem",
    "credit_note": "CreditNote",
    "credit_note_line_item": "CreditNoteLineItem",
    "quote": "Quote",
    "billing.meter": "Meter",
    "entitlements.active_entitlement_summary": "ActiveEntitlementSummary",
    # Pages that Stripe hosts.
    "checkout.session": "CheckoutSession",
    "billing_portal.session": "BillingPortalSession",
    "billing_portal.configuration": "BillingPortalConfiguration",
    "payment_link": "PaymentLink",
    "item": "LineItem",
    # Money on its way to a bank.
    "balance": "Balance",
    "balance_transaction": "BalanceTransaction",
    "payout": "Payout",
    "topup": "Topup",
    "bank_account": "BankAccount",
    "card": "Card",
    "transfer": "Transfer",
    "transfer_reversal": "TransferReversal",
    # Connect.
    "account": "Account",
    "account_link": "AccountLink",
    "capability": "Capability",
    "person": "Person",
    "application": "Application",
    "application_fee": "ApplicationFee",
    "fee_refund": "ApplicationFeeRefund",
    # Everything else.
    "event": "Event",
    "webhook_endpoint": "WebhookEndpoint",
    "test_helpers.test_clock": "TestClock",
    "file": "File",
}
