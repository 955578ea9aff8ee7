// What is wrong with the layout of the page: a list of sentences. Run in the page by layout.py.
() => {
  const TARGETS = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex="-1"]),' +
    ' [role=button], [role=link], [role=tab], [role=menuitem], [role=checkbox], [role=switch], [role=option]';
  const SMALLEST = 24;  // WCAG 2.2, 2.5.8
  const SLACK = 1;  // rounding
  const width = document.documentElement.clientWidth;
  const problems = [];

  const name = (element) => {
    const text = (element.getAttribute('aria-label') || element.innerText || element.value || '').trim().replace(/\s+/g, ' ');
    const id = element.id ? '#' + element.id : element.className && typeof element.className === 'string'
      ? '.' + element.className.trim().split(/\s+/).join('.') : '';
    return element.tagName.toLowerCase() + id + (text ? ' "' + text.slice(0, 40) + '"' : '');
  };
  const isShown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  // The part of an element that its scroll containers show; null for none.
  const shownBox = (element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    const box = { left, top, right, bottom };
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (getComputedStyle(at).overflow === 'visible' || at === document.body || at === document.documentElement) continue;
      const clip = at.getBoundingClientRect();
      box.left = Math.max(box.left, clip.left);
      box.top = Math.max(box.top, clip.top);
      box.right = Math.min(box.right, clip.right);
      box.bottom = Math.min(box.bottom, clip.bottom);
    }
    return box.right - box.left > SLACK && box.bottom - box.top > SLACK ? box : null;
  };

  if (document.documentElement.scrollWidth > width + SLACK) {
    problems.push(`the page is ${document.documentElement.scrollWidth} px wide, the window ${width} px`);
  }
  for (const element of document.body.querySelectorAll('*')) {
    if (element.ownerSVGElement || !isShown(element)) continue;
    const box = shownBox(element);
    if (box && (box.right > width + SLACK || (box.left < -SLACK && box.right > SLACK))) {
      problems.push(`${name(element)} reaches from ${Math.round(box.left)} to ${Math.round(box.right)} px in a window of ${width} px`);
    }
  }

  // A dialog, a menu or a bar that stays in view may cover what is behind it: targets are compared within one layer.
  const layerOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (at.matches('dialog, :popover-open') || ['fixed', 'sticky'].includes(getComputedStyle(at).position)) return at;
    }
    return null;
  };
  const modal = document.querySelector('dialog:modal');
  const targets = [];
  for (const element of document.querySelectorAll(TARGETS)) {
    if (!isShown(element) || element.disabled || (modal && !modal.contains(element))) continue;
    const box = shownBox(element);
    if (box) targets.push({ element, box, layer: layerOf(element) });
  }

  const isInText = (element) => {
    if (!element.matches('a[href], button') || !getComputedStyle(element).display.startsWith('inline')) return false;
    return [...element.parentElement.childNodes].some((node) => node !== element && node.textContent.trim() &&
      (node.nodeType === Node.TEXT_NODE || getComputedStyle(node).display === 'inline'));
  };
  const sizeOf = (element) => {
    // A label is a part of the target of its field.
    const boxes = [element, ...(element.labels || [])].map((one) => one.getBoundingClientRect());
    return [Math.max(...boxes.map((box) => box.width)), Math.max(...boxes.map((box) => box.height))];
  };
  // What is pressed may be larger than the box: a link that covers its whole row.
  const isPressed = (element) => {
    element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
    const box = element.getBoundingClientRect();
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    const [wide, high] = [Math.max(box.width, SMALLEST) / 2 - SLACK, Math.max(box.height, SMALLEST) / 2 - SLACK];
    const hits = (left, top) => element.contains(document.elementFromPoint(left, top));
    return hits(x - wide, y) && hits(x + wide, y) && hits(x, y - high) && hits(x, y + high);
  };
  const scrolled = [scrollX, scrollY];
  for (const { element } of targets) {
    const [wide, high] = sizeOf(element);
    const isScrolled = element.matches('[tabindex]') && !element.matches('[role], a, button, input');
    if (!isScrolled && !isInText(element) && (wide < SMALLEST - 0.5 || high < SMALLEST - 0.5) && !isPressed(element)) {
      problems.push(`${name(element)} is a target of ${wide.toFixed(1)} × ${high.toFixed(1)} px, less than ${SMALLEST} × ${SMALLEST}`);
    }
  }
  scrollTo(...scrolled);

  for (let at = 0; at < targets.length; at++) {
    const one = targets[at];
    for (let next = at + 1; next < targets.length; next++) {
      const other = targets[next];
      if (one.layer !== other.layer || one.element.contains(other.element) || other.element.contains(one.element)) continue;
      const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const high = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (wide > SLACK && high > SLACK) {
        problems.push(`${name(one.element)} and ${name(other.element)} overlap by ${wide.toFixed(1)} × ${high.toFixed(1)} px`);
      }
    }
  }

  // A script, a label or a link that means one of them would get the other.
  const ids = new Set();
  for (const element of document.querySelectorAll('[id]')) {
    if (ids.has(element.id)) problems.push(`${name(element)} has the id of another element`);
    ids.add(element.id);
  }
  return problems.slice(0, 20);
}
