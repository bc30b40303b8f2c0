"""Output is hostile: live, frozen, exported, it is text and does nothing."""

import json

import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import BrowserContext, Page

from browser.cells import spawn
from browser.conftest import Open
from browser.notebook_page import NotebookPage
from browser.views import Card, Output, Shell

MARKUP = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>",
    '"><svg onload="window.pwned = 3">',
    "</pre></div></textarea><iframe srcdoc='<script>top.pwned=4</script>'></iframe>",
    "data:text/html,<script>window.pwned = 5</script>",
    "<a href='javascript:window.pwned=6'>click</a>",
    "<style>body {display: none}</style>",
)
SEQUENCES = (
    "\x1b]8;;data:text/html,<script>alert(1)</script>\x07link\x1b]8;;\x07",
    "\x1b]8;;javascript:window.pwned=7\x1b\\again\x1b]8;;\x1b\\",
    "\x1b]52;c;cHduZWQ=\x07",  # writes "pwned" to the clipboard, in terminals that let it
    "\x1b]0;pwned title\x07\x1b]2;pwned\x07",
    "\x1b]1337;File=name=cHduZWQ=;inline=1:AAAA\x07",
    '\x1b[20t\x1b[21t\x1bP$q"p\x1b\\',
    "\u202egnp.exe\u202c",
)
SCRIPT = "\n".join((*MARKUP, *SEQUENCES, "the end"))


def cell(*, seconds: int, tty: bool) -> str:
    """Writes it all to both streams, and stays for a while."""
    command = f"cat /tmp/hostile; cat /tmp/hostile >&2; sleep {seconds}"
    return (
        f"box.put('/tmp/hostile', {SCRIPT!r}.encode())\n"
        f"process = box.spawn_process({command!r}, tty={tty})\n"
        "process"
    )


BOX = spawn()
# Names that a container chooses for itself, or that somebody gave it.
NAMED = (
    "evil = location.best_node().spawn_container('debian', sleep=True,\n"
    "    tag='<img src=x onerror=window.pwned=8>',\n"
    "    env=[('X', '</script><script>window.pwned=9</script>')])\n"
    "evil.wait_until_ready()\n"
    "evil.spawn_process(\"sleep 300 # <img src=x onerror='window.pwned=10'> \\x1b]0;t\\x07\")\n"
    "evil"
)


# As the value of a cell in a container, and what it shows and writes on the way.
CELL = f"""%%tf_python box
class Hostile:
    def _repr_html_(self): return {"".join((*MARKUP, "<b>its table</b>"))!r}
    def _repr_javascript_(self): return "window.pwned = 11"
    def _repr_markdown_(self): return {MARKUP[1]!r}
display(Hostile())
print({SCRIPT!r})
Hostile()"""


def inert(page: Page, *, title: str = "pwned") -> None:
    """Nothing that was written has become more than text."""
    assert page.evaluate("window.pwned") is None
    assert title not in page.title()
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    for bad in (
        "a[href^='data:text'], a[href^='javascript']",
        "img[src='x']",
        "svg[onload]",
        "iframe[srcdoc]",
    ):
        assert page.locator(bad).count() == 0, bad


def clipboard(page: NotebookPage) -> None:
    page.page.evaluate("navigator.clipboard.writeText('mine')")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_hostile_output_is_text_in_the_live_views(notebook: Open) -> None:
    page = notebook(
        BOX, cell(seconds=300, tty=False), cell(seconds=300, tty=True), NAMED, "%tf_ps", CELL
    )
    clipboard(page)
    page.run(0)
    page.run(1)
    output = Output(page, 1).wait()
    output.wait_text("the end")
    assert MARKUP[0] in output.text() and MARKUP[1] in output.text()
    assert "link" in output.text() and "again" in output.text()
    inert(page.page)
    page.picture("output")
    page.run(2)
    terminal = Shell(page, 2).wait()
    terminal.wait_text("the end")
    assert MARKUP[0] in terminal.text()
    terminal.root.get_by_text("again").last.click(force=True)
    inert(page.page)
    page.picture("terminal")
    page.run(3)
    Card(page, 3).wait().wait_text("<img src=x onerror")
    page.run(4)
    Card(page, 4).wait().wait_text("<img src=x onerror")
    inert(page.page)
    page.picture("names")
    page.run(5)
    page.wait_text(5, "the end")
    frames = page.outputs(5).frame_locator("iframe[sandbox='']")
    for shown in (frames.first, frames.last):
        shown.get_by_text("its table").wait_for(state="attached")  # its style hides it
    assert page.page.evaluate("window.pwned") is None
    page.picture("cell")
    # the browser says what it has kept the frames from
    kept = ("Blocked script execution in 'about:srcdoc'", "Content Security Policy")
    said, page.watch.errors[:] = list(page.watch.errors), []
    assert said and all(any(each in line for each in kept) for line in said), said


def test_hostile_output_is_text_when_frozen_and_exported(
    notebook: Open, browser: BrowserContext
) -> None:
    page = notebook(BOX, cell(seconds=1, tty=False), cell(seconds=1, tty=True), NAMED)
    clipboard(page)
    page.run_all()

    def frozen() -> bool:
        both = [page.kept(1), page.kept(2)]
        return all(both) and "widget-view" not in json.dumps(both)

    page.until(frozen, 30, "both are frozen")
    for number in (1, 2):
        page.wait_text(number, "the end")
        page.wait_text(number, "<script>")
    inert(page.page)
    page.picture("frozen")
    page.save()
    page.reload()  # trusted, so the front-end takes the HTML as it is
    for number in (1, 2):
        page.wait_text(number, "the end")
    inert(page.page)

    kept = page.save()
    html, _ = HTMLExporter().from_notebook_node(kept)
    shown = browser.new_page()
    try:
        # an origin of its own, as a page on the disk or on somebody's web site has
        shown.route("**/*", lambda route: route.abort())
        shown.route(
            "http://127.0.0.1/exported",
            lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"),
        )
        shown.goto("http://127.0.0.1/exported")
        shown.evaluate("navigator.clipboard.writeText('mine')")
        text = shown.locator("body").inner_text()
        assert MARKUP[1] in text and "the end" in text
        inert(shown, title="pwned title")
        # nothing of the process is in it but as text: no escape sequence either
        assert "\x1b" not in json.dumps(kept.cells[1].outputs).replace("\\u001b", "\x1b")
        assert "\u202e" not in html
    finally:
        shown.close()


#: Tries what a page of the server's could, and writes down what became of it.
GRASPING = """
<title>pwned title</title><body><script>
const said = {};
const attempt = async (name, what) => {
  try { said[name] = String(await what()); } catch (error) { said[name] = `no: ${error.name}`; }
};
(async () => {
  await attempt('contents', async () => (await fetch('/api/contents')).status);
  const all = { credentials: 'include' };
  await attempt('with cookies', async () => (await fetch('/api/contents', all)).status);
  await attempt('cookie', () => document.cookie);
  await attempt('storage', () => localStorage.length);
  await attempt('worker', () => navigator.serviceWorker.register('worker.js'));
  if (top !== self) {
    await attempt('above', () => top.document.title);
    await attempt('away', () => { top.location = 'about:blank'; return 'gone'; });
  }
  await attempt('own', async () => (await fetch('own.txt')).text());
  document.body.textContent = JSON.stringify(said);
})();
</script>
"""
SERVES = (
    "web = location.best_node().spawn_container('busybox', sleep=True)\n"
    f"web.put('/tmp/index.html', {GRASPING!r}.encode())\n"
    "web.put('/tmp/own.txt', b'mine')\n"
    "served = web.spawn_process('exec busybox httpd -f -p 8000 -h /tmp')\n"
    "web.wait_http_200(8000)\n"
    "%tf_open web 8000"
)


@pytest.mark.places("lab-new-direct")
def test_a_page_that_a_container_serves_gets_at_nothing(notebook: Open) -> None:
    page = notebook(f"%load_ext tfnz_notebook\n{BOX}", SERVES)
    page.run(0)
    page.run(1)
    card = Card(page, 1).wait()
    card.wait_text("localhost:8000")
    frame = card.root.frame_locator("iframe").locator("body")
    card.until(lambda: "own" in frame.inner_text(), 20, frame.inner_text, "what it got at")
    with page.page.context.expect_page() as opened:
        card.root.locator("a").first.click()
    tab = opened.value
    tab.wait_for_function("document.body.innerText.includes('own')")  # shown, not in its script
    assert "/tfnz/page/" in tab.url
    for text in (frame.inner_text(), tab.inner_text("body")):
        said = json.loads(text)
        assert said.pop("own") == "mine"
        assert {each.partition(":")[0] for each in said.values()} == {"no"}, said
    page.picture("served")
    tab.close()
    assert "lab" in page.page.url or "notebooks" in page.page.url
    assert any("api/contents" in each for each in page.watch.errors)  # the browser says so, too
    page.watch.errors.clear()
