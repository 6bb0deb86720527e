// The back office asks the HTTP face of atom-stripe. The cookie that the staff got when it signed in goes along by itself.
"use strict";

const api = "/api/v1/stripe";
const endpoints = {
  payments: `${api}/payments`,
  subscriptions: `${api}/subscriptions`,
  refunds: `${api}/refunds`,
  checkout: `${api}/checkout/sessions`,
};
const said = document.getElementById("status");

const answered = async (response) => {
  const content = await response.json();
  // Problems are RFC 9457: `detail` is what to do, for people; `type` says which one, for programs.
  if (!response.ok) throw new Error(content.detail);
  return content;
};

const get = async (url) => answered(await fetch(url));

// With the same key, Stripe does it once, however often it is sent.
const post = async (url, body, key) =>
  answered(
    await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify(body),
    }),
  );

// Amounts are whole numbers of the currency's smallest unit, here and everywhere else.
const money = (amount, currency) => (currency === "usd" ? `$${(amount / 100).toFixed(2)}` : `${amount} ${currency}`);

// Runs what a button does, and shows what went wrong.
const doing = (button, work) => async (event) => {
  event.preventDefault();
  button.disabled = true;
  said.textContent = "";
  try {
    await work();
  } catch (error) {
    said.textContent = error.message;
    button.disabled = false;
  }
};

const payment = (found) => {
  const item = document.createElement("li");
  item.textContent = `${found.id} ${money(found.amount, found.currency)} ${found.status} `;
  if (found.status === "succeeded") {
    const button = document.createElement("button");
    button.id = `refund-${found.id}`;
    button.textContent = "Refund";
    button.addEventListener(
      "click",
      doing(button, async () => {
        await post(endpoints.refunds, { payment_intent: found.id }, `refund-${found.id}`);
        location.assign("/staff?refunded");
      }),
    );
    item.append(button);
  }
  return item;
};

const subscription = (found) => {
  const item = document.createElement("li");
  item.textContent = `${found.id} ${found.status}${found.cancel_at_period_end ? ", ends with its period" : ""}`;
  return item;
};

const show = async (id, url, row) => {
  const { data } = await get(url);
  document.getElementById(id).replaceChildren(...data.map(row));
};

const sale = document.getElementById("sale");
const key = crypto.randomUUID();
sale.addEventListener(
  "submit",
  doing(document.getElementById("sell"), async () => {
    const price = {
      currency: "usd",
      unit_amount: Number(document.getElementById("cents").value),
      product_data: { name: "Something else" },
    };
    const page = `${location.origin}/staff`;
    const session = await post(
      endpoints.checkout,
      { mode: "payment", line_items: [{ price_data: price, quantity: 1 }], success_url: page, cancel_url: page },
      `sale-${key}-${price.unit_amount}`,
    );
    location.assign(session.url);
  }),
);

if (location.search === "?refunded") said.textContent = "Refunded.";
Promise.all([
  show("payments", endpoints.payments, payment),
  show("subscriptions", `${endpoints.subscriptions}?status=all`, subscription),
]).catch((error) => {
  said.textContent = error.message;
});
