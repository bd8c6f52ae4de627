"""What of plotly.js the report's figures need, packed into a page that opens without a network.

plotly.js knows fifty kinds of traces, maps and three dimensions among them; the figures have the kinds of `TRACES`. For
a version that is known by its hash, ``plotly_parts.json`` says which bytes nothing here needs; the script
``benchmarks/plotly_parts.mjs`` finds them, and a browser has drawn the figures with the rest. Any other version is
packed whole, which is right and larger.
"""

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib import resources

__all__ = ["TRACES", "UNPACKED", "library", "library_hash", "loader", "policy_hash"]

TRACES = ("scatter", "heatmap", "contour")
UNPACKED = "plotlyReady"
"""The name of the promise, in the page's window, that plotly.js is there."""

_LOADER = """window.$ready = (async function () {
  "use strict";
  if (typeof DecompressionStream === "undefined") {
    throw new Error("The figures need a browser of 2023 or later, which can unpack what draws them.");
  }
  var bytes = Uint8Array.from(atob("$packed"), function (letter) { return letter.charCodeAt(0); });
  var stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  var script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.appendChild(script);
  if (!window.Plotly) { throw new Error("What draws the figures could not be started."); }
  return window.Plotly;
})();
window.$ready.catch(function () {});  // whoever waits for it says so
"""


def library() -> bytes:
    """Returns plotly.js, without the parts that draw other kinds of traces if its version is known."""
    from plotly.offline import get_plotlyjs

    whole = str(get_plotlyjs()).encode()
    known = json.loads(resources.files("dlkit.bench.report").joinpath("plotly_parts.json").read_text(encoding="utf-8"))
    if hashlib.sha256(whole).hexdigest() != known["sha256"]:
        return whole
    starts = [0, *(stop for _, stop in known["left_out"])]
    stops = [*(start for start, _ in known["left_out"]), len(whole)]
    return b"".join(whole[start:stop] for start, stop in zip(starts, stops, strict=True))


def policy_hash(script: bytes) -> str:
    """Returns how a page's policy names a script that may run: by its hash, so that no other one does.

    Example:
        >>> policy_hash(b"")
        "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


@cache
def library_hash() -> str:
    """Returns that of `library`, which the script of `loader` unpacks and starts."""
    return policy_hash(library())


@cache
def loader() -> str:
    """Returns the JavaScript of an inline script that unpacks plotly.js.

    It sets ``window.plotlyReady``, a promise of `Plotly`. Where the browser cannot unpack it, the promise is rejected
    with an error whose message is a sentence for the reader. Nothing is fetched: a policy that allows this script and
    that of `library`, by their hashes, is enough.
    """
    packed = base64.b64encode(gzip.compress(library(), 9, mtime=0)).decode()
    return _LOADER.replace("$ready", UNPACKED).replace("$packed", packed)
