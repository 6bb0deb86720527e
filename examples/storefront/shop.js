// Shows what Stripe's webhooks said of the visitor's orders. Everything else on the page works without scripts.
"use strict";

const list = document.getElementById("orders");

const line = (order) => {
  const item = document.createElement("li");
  item.textContent = order.words;
  return item;
};

const look = async () => {
  try {
    const response = await fetch("/orders");
    if (response.ok) list.replaceChildren(...(await response.json()).map(line));
  } catch {
    // Away for a moment; the next look may find it.
  }
  setTimeout(look, 1000);
};

look();
