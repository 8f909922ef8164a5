"""The forty classes of mixnet-pocket, and the pictograms that only ever appear as clutter.

The first twenty-two are animals, of which most are a bare face in Noto Color Emoji: they are each
other's look-alikes, so that "giant panda" is a question with plausible wrong answers.
"""

from __future__ import annotations

from typing import Final

CLASSES: Final[tuple[tuple[str, str], ...]] = (
    ("giant panda", "\U0001f43c"),
    ("bear", "\U0001f43b"),
    # Bear, zero-width joiner, snowflake, variation selector: one glyph after text shaping.
    ("polar bear", "\U0001f43b\u200d\u2744\ufe0f"),
    ("koala", "\U0001f428"),
    ("badger", "\U0001f9a1"),
    ("raccoon", "\U0001f99d"),
    ("skunk", "\U0001f9a8"),
    ("dog", "\U0001f436"),
    ("cat", "\U0001f431"),
    ("cow", "\U0001f42e"),
    ("mouse", "\U0001f42d"),
    ("hamster", "\U0001f439"),
    ("rabbit", "\U0001f430"),
    ("fox", "\U0001f98a"),
    ("wolf", "\U0001f43a"),
    ("lion", "\U0001f981"),
    ("tiger", "\U0001f42f"),
    ("monkey", "\U0001f435"),
    ("pig", "\U0001f437"),
    ("frog", "\U0001f438"),
    ("penguin", "\U0001f427"),
    ("owl", "\U0001f989"),
    ("bus", "\U0001f68c"),
    ("car", "\U0001f697"),
    ("bicycle", "\U0001f6b2"),
    ("airplane", "\u2708"),
    ("sailboat", "\u26f5"),
    ("house", "\U0001f3e0"),
    ("umbrella", "\u2602"),
    ("guitar", "\U0001f3b8"),
    ("alarm clock", "\u23f0"),
    ("book", "\U0001f4d6"),
    ("banana", "\U0001f34c"),
    ("strawberry", "\U0001f353"),
    ("pizza", "\U0001f355"),
    ("mushroom", "\U0001f344"),
    ("tree", "\U0001f333"),
    ("sunflower", "\U0001f33b"),
    ("snowman", "\u26c4"),
    ("soccer ball", "\u26bd"),
)

LABELS: Final[tuple[str, ...]] = tuple(label for label, _ in CLASSES)

# One code point each, none of which could be taken for a class: no furry animal, no second car.
DISTRACTORS: Final[tuple[str, ...]] = tuple(
    "😀😂😉😍😎😐😭😱😡🤖👽💀👻🤡🎃👶👧👨👩👮"
    "👍👋👏✋👌👂👃👀👄💪🌵🌷🌹🌺🌸🍀🍁🍂🌾🌿🍃"
    "🍎🍐🍊🍋🍉🍇🍒🍑🍍🥝🍅🥑🍆🥔🥕🌽🥒🍞🥐🧀🍖🍗🍔🍟🌭🌮🥚🍳🍲🍿🍣🍤🍦🍩🍪🎂🍫🍬🍭🍯🍼🥛☕🍵🍷🍸🍺"
    "🐟🐠🐙🐚🦀🐌🦋🐛🐝🐞🐳🐍🐢🦎🦂"
    "💡🔦🔧🔨🔩🔑🔒✂📎📌✏📏💼👜👓👔👕👖👗👞👟👠🎩👑💍💎📱💻📷📺📻🔋💰💳📦🎁🎈🏆🏀🏈🎾🎳🎯🎲🧩🎨🎺🎷🎹🥁🎤🎧"
    "🚀🛸⚓🚪🚿🛁🧲🧯🧹🧺🧻🔔❤⭐⚡🔥💧🌈🌙☁🌍"
)
