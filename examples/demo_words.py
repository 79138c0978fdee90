"""What people save and how they call it: tags of garments, board themes, titles, remarks."""

from __future__ import annotations

from typing import NamedTuple

# kind of garment → what it is good for
KIND_TAGS = {
    "sheath dress": "dressy office",
    "shift dress": "dressy office summer",
    "skater dress": "dressy romantic",
    "party dress": "dressy party",
    "slip dress": "dressy party summer",
    "tunic dress": "casual boho summer",
    "maxi dress": "boho summer romantic",
    "midi dress": "romantic spring",
    "shirt dress": "casual office",
    "sundress": "summer beach romantic spring",
    "cowboy hat": "festival boho summer",
    "fedora": "boho summer vintage",
    "cap": "street sporty casual",
    "flat cap": "vintage autumn",
    "beanie": "winter cosy street",
    "bobble hat": "winter cosy",
    "sun hat": "summer beach",
    "blouse": "office romantic",
    "cardigan": "cosy autumn office spring",
    "sweater": "cosy autumn winter casual",
    "turtleneck": "cosy winter office autumn",
    "sweatshirt": "casual sporty cosy street",
    "long-sleeve top": "casual autumn",
    "puffer coat": "winter outdoor",
    "puffer jacket": "winter outdoor street",
    "puffer vest": "outdoor autumn",
    "quilted vest": "outdoor autumn",
    "quilted jacket": "outdoor autumn spring",
    "parka": "winter outdoor",
    "leather jacket": "street party autumn",
    "bomber jacket": "street spring autumn",
    "rain jacket": "rain outdoor spring",
    "windbreaker": "rain outdoor sporty spring",
    "utility jacket": "street spring autumn",
    "wool coat": "winter office romantic",
    "chinos": "office casual",
    "trousers": "office",
    "wide-leg pants": "office boho",
    "jeans": "casual denim street",
    "joggers": "sporty casual lounge",
    "lounge pants": "lounge cosy",
    "shirt": "office casual",
    "short-sleeve shirt": "summer casual",
    "flannel shirt": "autumn casual outdoor vintage",
    "denim shirt": "denim casual",
    "sneakers": "casual street sporty",
    "trainers": "sporty outdoor",
    "sandals": "summer beach boho",
    "ankle boots": "autumn winter street",
    "chelsea boots": "autumn winter office",
    "knee boots": "winter party autumn",
    "snow boots": "winter outdoor",
    "oxfords": "office vintage",
    "loafers": "office casual",
    "flats": "office spring casual",
    "heels": "party dressy office",
    "clogs": "summer beach lounge",
    "slides": "summer beach lounge",
    "flip-flops": "summer beach",
    "slip-ons": "casual spring summer",
    "shorts": "summer casual",
    "cargo shorts": "summer outdoor",
    "denim shorts": "summer denim festival",
    "swim shorts": "summer beach",
    "athletic shorts": "sporty summer",
    "pencil skirt": "office dressy",
    "mini skirt": "party street",
    "skater skirt": "romantic spring summer",
    "midi skirt": "romantic office spring",
    "maxi skirt": "boho summer",
    "denim skirt": "denim casual summer",
    "pleated skirt": "romantic vintage autumn",
    "tee": "casual summer",
    "graphic tee": "street casual festival",
    "polo shirt": "casual sporty office",
}
COLOUR_TAGS = {
    "black": "dark neutral",
    "white": "neutral light",
    "grey": "neutral",
    "navy": "dark neutral bluish",
    "blue": "bluish bright",
    "light blue": "bluish pastel",
    "teal": "bluish bright",
    "green": "greenish",
    "olive": "greenish earth",
    "mustard": "earth warm",
    "yellow": "bright warm",
    "orange": "bright warm earth",
    "red": "bright reddish",
    "burgundy": "dark reddish",
    "pink": "pinkish pastel",
    "purple": "bright",
    "brown": "earth dark",
    "beige": "neutral earth light",
    "coral": "warm pinkish bright",
    "fuchsia": "pinkish bright",
    "mint": "greenish pastel",
    "lavender": "pastel",
}


class Theme(NamedTuple):
    """A reason to make a board. A photo fits as many times as `fits` alternatives match it.

    An alternative is tags joined by `+` (all must hold). `months` are when such boards begin.
    """

    titles: tuple[str, ...]
    category: str
    fits: str
    about: tuple[str, ...] = ("",)
    months: tuple[int, ...] = tuple(range(1, 13))
    share: float = 1.0


SPRING, SUMMER, AUTUMN, WINTER = (2, 3, 4), (5, 6, 7), (8, 9, 10), (10, 11, 12, 1)
THEMES = (
    # by type
    Theme(("Dresses", "dresses I love", "Dress collection", "Kleider"), "Dresses", "dress",
          share=2),
    Theme(("Shoes", "shoe addict", "Shoes shoes shoes"), "Shoes", "shoes", share=2),
    Theme(("Sneaker wall", "Sneakers", "Kicks"), "Shoes", "sneakers trainers slip-ons"),
    Theme(("Boots", "Boots & booties"), "Shoes", "ankle_boots chelsea_boots knee_boots snow_boots"),
    Theme(("Hats", "Hat hair don't care", "caps and hats"), "Accessories", "hat", share=1.5),
    Theme(("Skirts", "Skirt season", "skirt inspo"), "Skirts", "skirt", share=1.5),
    Theme(("Tees", "T-shirts I'd wear daily", "tees"), "Tops", "t-shirt", share=1.5),
    Theme(("Graphic tees", "Funny T-shirts"), "Tops", "graphic_tee t-shirt+printed"),
    Theme(("Denim", "Denim everything", "Jeans & denim"), "Denim", "denim denim jeans", share=2),
    Theme(("Jackets", "Coats & jackets", "Outerwear"), "Outerwear", "outwear", share=1.5),
    Theme(("Knitwear", "Knits", "Cosy knits", "sweater weather"), "Knitwear",
          "sweater cardigan turtleneck cosy+longsleeve", months=AUTUMN, share=1.5),
    Theme(("Shirts", "Button-downs"), "Tops", "shirt shirt+plain"),
    Theme(("Pants that fit", "Trousers", "Pants"), "Trousers", "pants", share=1.5),
    Theme(("Shorts",), "Shorts", "shorts", months=SUMMER),
    # by colour and pattern
    Theme(("All black everything", "Black", "noir"), "Colour",
          "black black+dressy", ("because it is always right",), share=1.5),
    Theme(("White & cream", "Crisp white", "White"), "Colour", "white white light+beige"),
    Theme(("Into the blue", "Blue", "50 shades of blue"), "Colour", "bluish blue navy"),
    Theme(("Pastels", "Sugar & pastels", "soft colours"), "Colour", "pastel", months=SPRING),
    Theme(("Earth tones", "Autumn palette"), "Colour", "earth olive mustard", months=AUTUMN),
    Theme(("Red hot", "Lady in red", "Red"), "Colour", "red red reddish"),
    Theme(("Pink please", "pink!", "P I N K"), "Colour", "pinkish pink fuchsia"),
    Theme(("Colour pop", "Brights", "Dopamine dressing"), "Colour", "bright"),
    Theme(("Green", "green things"), "Colour", "greenish green"),
    Theme(("Yellow & mustard", "Sunshine yellow"), "Colour", "yellow mustard orange"),
    Theme(("Neutrals", "50 beige things"), "Colour", "neutral+plain beige grey"),
    Theme(("Stripes", "Stripes forever", "rayures"), "Patterns", "striped"),
    Theme(("Florals", "Flower power", "florals for spring"), "Patterns", "floral",
          ("Groundbreaking.",), share=1.5),
    Theme(("Plaid & checks", "Plaid", "checked"), "Patterns", "checked"),
    Theme(("Polka dots", "dots"), "Patterns", "dotted patterned"),
    # by season
    Theme(("Summer", "Summer holiday", "summer 🌞", "Sommer", "Été"), "Seasonal", "summer",
          ("for two weeks of sea and no plans", ""), SUMMER, 2.5),
    Theme(("Autumn layers", "Fall", "Herbst 🍂"), "Seasonal", "autumn", months=AUTUMN, share=2),
    Theme(("Winter warmers", "Winter", "brrr"), "Seasonal", "winter",
          ("it is cold here", ""), WINTER, 2),
    Theme(("Spring refresh", "Spring", "spring wardrobe"), "Seasonal", "spring spring+pastel",
          months=SPRING, share=1.5),
    Theme(("Rainy days",), "Seasonal", "rain ankle_boots", ("wind, rain, bike",), AUTUMN, 0.7),
    # by occasion
    Theme(("Office looks", "Work", "Workwear", "9 to 5", "Business casual"), "Workwear",
          "office office+neutral", ("no ironing, please", ""), share=2.5),
    Theme(("Job interview",), "Workwear", "office+neutral office+dark", ("keep it simple",)),
    Theme(("Wedding guest", "Weddings", "Wedding season"), "Occasions",
          "dress+dressy heels dress+romantic", ("not white!", ""), SPRING + SUMMER, 1.5),
    Theme(("Date night", "Date night?"), "Occasions", "party dressy+red dressy+black"),
    Theme(("Party", "Party time", "New Year's Eve"), "Occasions", "party heels", months=WINTER),
    Theme(("Gym kit", "Running", "workout", "Sport"), "Activewear", "sporty trainers", share=1.5),
    Theme(("Weekend", "Weekend errands", "off duty"), "Casual", "casual casual+denim", share=2),
    Theme(("Beach bag", "Beach", "Strand", "vacay"), "Travel", "beach", ("", "Lisbon in July!"),
          SUMMER, 1.5),
    Theme(("Festival outfits", "Festival"), "Occasions", "festival denim boho", months=SUMMER),
    Theme(("Hiking & camping", "Outdoors"), "Activewear", "outdoor", ("layers, layers, layers",)),
    Theme(("Sunday sofa", "Loungewear", "home office bottom half"), "Casual", "lounge cosy"),
    Theme(("City trip packing list", "Packing: 3 days Rome", "carry-on only"), "Travel",
          "casual+neutral sneakers slip-ons tee+plain jeans cardigan", ("hand luggage only",)),
    # by style
    Theme(("Minimal", "Minimalist", "less is more"), "Style", "neutral+plain", share=2),
    Theme(("Boho", "boho soul", "Boho & free"), "Style", "boho"),
    Theme(("Streetwear", "street style"), "Style", "street street+dark", share=1.5),
    Theme(("Romantic", "Romantic looks"), "Style", "romantic romantic+floral"),
    Theme(("Vintage finds", "thrifted", "Vintage"), "Style", "vintage", ("second-hand only", "")),
    Theme(("Parisian chic", "French girl style"), "Style",
          "longsleeve+striped neutral+office flats ankle_boots trousers"),
)  # fmt: skip
OUTFIT_TITLES = (
    "Outfit of the day", "OOTD", "What to wear with {a}", "{a} outfit", "Outfit: {a} + {b}",
    "How to wear {a}", "outfit idea {a}", "Look of the week", "{a} & {b}",
)  # fmt: skip
OUTFIT_ABOUT = (
    "", "", "", "", "", "", "saw this combination in the tram", "works with a trench coat too",
    "add gold hoops", "roll up the sleeves", "borrowed from my sister", "for Thursday",
)  # fmt: skip
CAPSULE_TITLES = ("Capsule wardrobe", "My capsule", "33 things", "Wardrobe plan", "capsule")
WISH_TITLES = (
    "Wishlist", "My style", "Wear this", "want want want", "Clothes", "closet", "Fashion",
    "things I like", "To sew", "For sale", "saved", "Birthday ideas", "mode", "Ropa",
)  # fmt: skip
WISH_ABOUT = ("", "", "", "a bit of everything", "sizes S–M", "mostly second-hand")
PEOPLE = (
    "mira.k jonas_w elif anouk.b theo lena_r sofia.m priya.s marek.t ines hanna.l otto.v yuki.n "
    "carla.g dmitri.p emma_j noor.a felix.d giulia.f hugo_c ida.s jakub.z katya.o luca.r maja.h "
    "nils.b olive.w paula.e quinn rosa.i sam.t tilda.n ursula.k vera.d willa.p xenia.l yara.m "
    "zoe.h amir.f bea.c chidi.o dora.v erik.g freya.n goran.s hilde.b iris.j juno.a kofi.m "
    "lotte.d mateo.r nadia.w oskar.l pia.t rafa.g selma.k tom_b uma.p viktor.h wen.y"
)
BEFORE = {
    "cosy": ("Cosy", "Chunky", "Soft"),
    "summer": ("Breezy", "Airy", "Summery"),
    "office": ("Smart", "Classic"),
    "party": ("Night-out",),
    "vintage": ("Vintage", "Retro"),
    "street": ("Cool",),
    "sporty": ("Sporty",),
    "romantic": ("Pretty", "Lovely"),
    "outdoor": ("Warm", "Practical"),
}
REMARKS = {
    "": ("love the colour", "so me", "found second-hand", "size M", "maybe in another colour?",
         "mine looks just like this", "on my list", "simple and good", "would wear every day",
         "from the flea market", "saving for later", "this or the other one?"),
    "winter": ("warm enough for January", "for the cold days", "for the mountains"),
    "summer": ("for hot days", "holiday packing", "goes into the suitcase"),
    "office": ("for the office", "Monday meetings", "interview safe", "smart but comfy"),
    "dressy": ("for Anna's wedding", "with gold earrings", "cocktail hour", "for the theatre"),
    "sporty": ("for running", "gym bag", "Tuesday class"),
    "casual": ("weekend uniform", "throw on and go", "basic but good"),
    "cosy": ("sofa, tea, this", "so soft", "can I live in this?"),
    "denim": ("perfect wash", "denim on denim?", "worn in just right"),
    "floral": ("flowers!", "garden party", "the print is lovely"),
    "beach": ("straight from the beach", "sand proof"),
    "outdoor": ("for the dog walk", "layer it", "muddy weekend"),
}  # fmt: skip
