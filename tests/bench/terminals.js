// In the page: what each terminal shows, and when it has drawn something.
() => {
  const lab = [...window.jupyterapp.shell.widgets('main')].find(w => w.id.startsWith('jp-Terminal')
    || w.content?.constructor.name === 'Terminal' || w.content?._term);
  const rows = document.querySelector('.tfnz-shell .xterm-rows');
  const term = lab.content._term;
  const ends = {
    ours: {
      drawn: act => {
        const observer = new MutationObserver(act);
        observer.observe(rows, {childList: true, subtree: true, characterData: true});
        return () => observer.disconnect();
      },
      text: () => [...rows.children].map(row => row.textContent.replaceAll('\u00a0', ' ').trimEnd())
        .join('\n').trimEnd(),
    },
    lab: {
      drawn: act => { const handle = term.onRender(act); return () => handle.dispose(); },
      text: () => {
        const buffer = term.buffer.active;
        const lines = [];
        for (let row = 0; row < term.rows; row++)
          lines.push(buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? '');
        return lines.join('\n').trimEnd();
      },
    },
  };
  // Milliseconds from the next key to the first drawing after it in which `pattern` is seen.
  window.benchKey = (which, pattern) => {
    const end = ends[which];
    const wanted = new RegExp(pattern);
    window.benchFound = undefined;
    window.benchFrame = 0;
    let began, last;
    const frame = now => {
      if (window.benchFound !== undefined) return;
      if (last !== undefined) window.benchFrame = Math.max(window.benchFrame, now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    const stop = end.drawn(() => {
      if (began === undefined || !wanted.test(end.text())) return;
      stop();
      window.benchFound = performance.now() - began;
    });
    const pressed = event => {
      if (event.key === 'Control') return;
      began = event.timeStamp;
      document.removeEventListener('keydown', pressed, true);
      requestAnimationFrame(frame);
    };
    document.addEventListener('keydown', pressed, true);
  };
  window.benchText = which => ends[which].text();
}
