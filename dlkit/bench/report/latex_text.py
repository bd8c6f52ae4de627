r"""Any text as LaTeX that shows it as it is: in plain ASCII, so that every engine and encoding of a document takes it.

Signs that LaTeX has no name for are written as their number, such as U+6F22; `foreign` finds them.
"""

import unicodedata

__all__ = ["escaped", "foreign"]

# What LaTeX takes for a command, or the fonts of the old encoding show as another sign.
ASCII = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': r"{\ttfamily\char34}",
    "`": r"\textasciigrave{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
NAMED = {
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{THIN SPACE}": r"\,",
    "\N{SOFT HYPHEN}": r"\-",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": r"\mbox{-}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{FRACTION SLASH}": "/",
    "\N{SECTION SIGN}": r"\S{}",
    "\N{COPYRIGHT SIGN}": r"\textcopyright{}",
    "\N{REGISTERED SIGN}": r"\textregistered{}",
    "\N{TRADE MARK SIGN}": r"\texttrademark{}",
    "\N{DEGREE SIGN}": r"\textdegree{}",
    "\N{POUND SIGN}": r"\pounds{}",
    "\N{EURO SIGN}": r"\texteuro{}",
    "\N{BULLET}": r"\textbullet{}",
    "\N{DAGGER}": r"\textdagger{}",
    "\N{DOUBLE DAGGER}": r"\textdaggerdbl{}",
    "\N{INVERTED QUESTION MARK}": r"\textquestiondown{}",
    "\N{INVERTED EXCLAMATION MARK}": r"\textexclamdown{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
MATHS = {
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": r"\times",
    "\N{DIVISION SIGN}": r"\div",
    "\N{PLUS-MINUS SIGN}": r"\pm",
    "\N{MIDDLE DOT}": r"\cdot",
    "\N{GREATER-THAN OR EQUAL TO}": r"\geq",
    "\N{LESS-THAN OR EQUAL TO}": r"\leq",
    "\N{NOT EQUAL TO}": r"\neq",
    "\N{ALMOST EQUAL TO}": r"\approx",
    "\N{IDENTICAL TO}": r"\equiv",
    "\N{PROPORTIONAL TO}": r"\propto",
    "\N{INFINITY}": r"\infty",
    "\N{RIGHTWARDS ARROW}": r"\to",
    "\N{LEFTWARDS ARROW}": r"\leftarrow",
    "\N{UPWARDS ARROW}": r"\uparrow",
    "\N{DOWNWARDS ARROW}": r"\downarrow",
    "\N{LEFT RIGHT ARROW}": r"\leftrightarrow",
    "\N{RIGHTWARDS DOUBLE ARROW}": r"\Rightarrow",
    "\N{ELEMENT OF}": r"\in",
    "\N{NABLA}": r"\nabla",
    "\N{PARTIAL DIFFERENTIAL}": r"\partial",
    "\N{SQUARE ROOT}": r"\surd",
    "\N{N-ARY SUMMATION}": r"\sum",
    "\N{N-ARY PRODUCT}": r"\prod",
    "\N{INTEGRAL}": r"\int",
    "\N{DOUBLE VERTICAL LINE}": r"\|",
    "\N{RING OPERATOR}": r"\circ",
    "\N{CIRCLED PLUS}": r"\oplus",
    "\N{CIRCLED TIMES}": r"\otimes",
    "\N{PRIME}": "'",
    "\N{SCRIPT SMALL L}": r"\ell",
    "\N{GREEK LUNATE EPSILON SYMBOL}": r"\epsilon",
    "\N{GREEK PHI SYMBOL}": r"\phi",
    "\N{GREEK THETA SYMBOL}": r"\vartheta",
    "\N{NOT SIGN}": r"\neg",
}
GREEK = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi o pi rho varsigma sigma tau upsilon "
    "varphi chi psi omega"
)
CAPITALS = r"A B \Gamma \Delta E Z H \Theta I K \Lambda M N \Xi O \Pi P ? \Sigma T \Upsilon \Phi X \Psi \Omega"
MATHS |= {chr(0x3B1 + i): name if name == "o" else f"\\{name}" for i, name in enumerate(GREEK.split())}
MATHS |= {chr(0x391 + i): name for i, name in enumerate(CAPITALS.split()) if name != "?"}
RAISED = {"⁰": "0", "¹": "1", "²": "2", "³": "3", **{chr(0x2070 + i): str(i) for i in range(4, 10)}}
RAISED |= {"⁺": "+", "⁻": "-", "ⁿ": "n", "ⁱ": "i"}
LOWERED = {**{chr(0x2080 + i): str(i) for i in range(10)}, "₊": "+", "₋": "-"}
ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING DOT BELOW}": "d",
    "\N{COMBINING MACRON BELOW}": "b",
}
# Pairs of signs that fonts join to another one: "--" to a dash, "?`" to a turned question mark.
LIGATURES = ("--", "''", ",,", "!'", "?'")

KNOWN = {
    **ASCII,
    **NAMED,
    **{sign: f"${written}$" for sign, written in MATHS.items()},
    **{sign: f"$^{{{written}}}$" for sign, written in RAISED.items()},
    **{sign: f"$_{{{written}}}$" for sign, written in LOWERED.items()},
}


def escaped(text: str) -> str:
    r"""Returns a text as LaTeX that shows it as it is, on one line.

    Args:
        text: anything: commands, signs of other alphabets, line breaks.

    Returns:
        ASCII. A sign without a name in LaTeX stands there as its number.

    Example:
        >>> print(escaped("adam_w {50%} ~ β₁ = 1e−3, Ångström"))
        adam\_w \{50\%\} \textasciitilde{} $\beta$$_{1}$ = 1e$-$3, \r{A}ngstr\"{o}m
        >>> escaped("漢--")
        'U+6F22-{}-'
    """
    spaced = "".join(" " if sign.isspace() and sign not in NAMED else sign for sign in text)
    whole = unicodedata.normalize("NFC", " ".join(word for word in spaced.split(" ") if word))
    parts = []
    for place, sign in enumerate(whole):
        is_joined = place > 0 and whole[place - 1 : place + 1] in LIGATURES
        parts += ["{}" * is_joined, _sign(sign)]
    return "".join(parts)


def foreign(text: str) -> dict[str, str]:
    """Returns the signs of a text that `escaped` writes as their number: number -> sign.

    Args:
        text: anything.

    Example:
        >>> foreign("λ and 漢")
        {'U+6F22': '漢'}
    """
    signs = dict.fromkeys(sign for sign in unicodedata.normalize("NFC", text) if not sign.isspace())
    return {_number(sign): sign for sign in signs if _number(sign) in _sign(sign)}


def _sign(sign: str) -> str:
    if sign in KNOWN:
        return KNOWN[sign]
    if " " <= sign <= "~":
        return sign
    apart = unicodedata.normalize("NFD", sign)
    base, marks = apart[0], apart[1:]
    if marks and base.isascii() and base.isalpha() and all(mark in ACCENTS for mark in marks):
        written = {"i": r"\i", "j": r"\j"}.get(base, base) if marks[0] != "\N{COMBINING CEDILLA}" else base
        for mark in marks:
            written = f"\\{ACCENTS[mark]}{{{written}}}"
        return written
    alike = unicodedata.normalize("NFKC", sign)  # the letter of a mathematical, wide or joined one
    if alike != sign and all(other in KNOWN or " " <= other <= "~" for other in alike):
        return "".join(map(_sign, alike))
    return _number(sign)


def _number(sign: str) -> str:
    return f"U+{ord(sign):04X}"
