// The staff's panel: five touches in the upper left corner, then the PIN, which is checked by the kiosk and never here.

const CORNER = 0.12; // of the screen's shorter side
const TOUCHES = 5;
const TOUCHES_MS = 4000;

let touches = [];
let typed = "";

function followCorner(event) {
  const side = Math.min(innerWidth, innerHeight) * CORNER;
  if (event.clientX > side || event.clientY > side) {
    touches = [];
    return;
  }
  const now = Date.now();
  touches = [...touches.filter((at) => now - at < TOUCHES_MS), now];
  if (touches.length < TOUCHES) return;
  touches = [];
  if (open.has("dark")) return startOver();
  if (data.staff) openStaff();
}

function openStaff() {
  typed = "";
  find("#k-staff-door").hidden = false;
  find("#k-staff-panel").hidden = true;
  write(find("#k-staff-said"), "");
  const pad = [..."123456789"].map((digit) => button(digit, () => typePin(digit)));
  pad.push(button("⌫", () => typePin(null)), button("0", () => typePin("0")), button("↵", sendPin));
  set(pad[9], "aria-label", text("delete"));
  set(pad[11], "aria-label", text("ask"));
  find("#k-staff-pad").replaceChildren(...pad);
  showTyped();
  stirQuietly();
  cover("staff");
}

function typePin(digit) {
  typed = digit === null ? typed.slice(0, -1) : (typed + digit).slice(0, 12);
  showTyped();
}

function showTyped() {
  write(find("#k-staff-typed"), "●".repeat(typed.length) || "·");
}

async function sendPin() {
  const pin = typed;
  typed = "";
  showTyped();
  let reply = null;
  try {
    reply = await post("/kiosk/staff", { pin });
  } catch {
    return write(find("#k-staff-said"), text("staff_unreachable"));
  }
  const told = await reply.json().catch(() => ({}));
  if (reply.ok) return showPanel(told);
  const locked = told.locked_s ? text("staff_locked", { seconds: told.locked_s }) : text("staff_wrong");
  return write(find("#k-staff-said"), locked);
}

function showPanel(health) {
  const works = (well) => text(well ? "staff_works" : "staff_rests");
  const lines = [
    ["staff_service", works(health.service)],
    ["staff_engine", works(health.engine)],
    ["staff_release", health.release || "–"],
  ];
  find("#k-staff-health").replaceChildren(...lines.flatMap(([name, value]) => {
    const [term, told] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = text(name);
    told.textContent = value;
    return [term, told];
  }));
  showVolume();
  find("#k-staff-door").hidden = true;
  find("#k-staff-panel").hidden = false;
  find("#k-staff-restart").focus();
}
