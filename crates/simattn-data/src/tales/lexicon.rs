//! The words of the tales. ASCII, singular, and without initials that are spelt one way and spoken
//! another ("hour", "unicorn"), so that the article follows from the first letter.

/// Grammatical gender of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gender {
    She,
    He,
}

impl Gender {
    pub(crate) fn subject(self) -> &'static str {
        match self {
            Self::She => "she",
            Self::He => "he",
        }
    }

    pub(crate) fn object(self) -> &'static str {
        match self {
            Self::She => "her",
            Self::He => "him",
        }
    }

    pub(crate) fn possessive(self) -> &'static str {
        match self {
            Self::She => "her",
            Self::He => "his",
        }
    }
}

pub(crate) const NAMES: &[(&str, Gender)] = &[
    ("Mia", Gender::She),
    ("Anna", Gender::She),
    ("Clara", Gender::She),
    ("Daisy", Gender::She),
    ("Edith", Gender::She),
    ("Flora", Gender::She),
    ("Grace", Gender::She),
    ("Hazel", Gender::She),
    ("Irene", Gender::She),
    ("Julia", Gender::She),
    ("Kate", Gender::She),
    ("Lucy", Gender::She),
    ("Maggie", Gender::She),
    ("Nina", Gender::She),
    ("Olive", Gender::She),
    ("Polly", Gender::She),
    ("Rosa", Gender::She),
    ("Sarah", Gender::She),
    ("Tess", Gender::She),
    ("Wendy", Gender::She),
    ("Ben", Gender::He),
    ("Adam", Gender::He),
    ("Carl", Gender::He),
    ("Daniel", Gender::He),
    ("Edgar", Gender::He),
    ("Felix", Gender::He),
    ("George", Gender::He),
    ("Henry", Gender::He),
    ("Isaac", Gender::He),
    ("Jack", Gender::He),
    ("Kurt", Gender::He),
    ("Leo", Gender::He),
    ("Max", Gender::He),
    ("Noah", Gender::He),
    ("Oscar", Gender::He),
    ("Peter", Gender::He),
    ("Ralph", Gender::He),
    ("Simon", Gender::He),
    ("Tom", Gender::He),
    ("Victor", Gender::He),
];

pub(crate) const TRADES: &[&str] = &[
    "baker",
    "farmer",
    "teacher",
    "painter",
    "sailor",
    "doctor",
    "gardener",
    "miller",
    "tailor",
    "singer",
    "hunter",
    "writer",
    "fisher",
    "carpenter",
    "actor",
    "engineer",
    "artist",
    "astronomer",
    "innkeeper",
    "potter",
];

/// Preposition of rest, and the place.
pub(crate) const PLACES: &[(&str, &str)] = &[
    ("in", "kitchen"),
    ("in", "garden"),
    ("in", "barn"),
    ("in", "library"),
    ("in", "forest"),
    ("in", "village"),
    ("in", "attic"),
    ("in", "orchard"),
    ("in", "cellar"),
    ("in", "tower"),
    ("in", "old mill"),
    ("in", "workshop"),
    ("in", "park"),
    ("in", "meadow"),
    ("in", "schoolhouse"),
    ("in", "bakery"),
    ("at", "market"),
    ("at", "harbor"),
    ("at", "station"),
    ("at", "well"),
    ("at", "gate"),
    ("at", "lake"),
    ("at", "inn"),
    ("at", "castle"),
    ("on", "hill"),
    ("on", "bridge"),
    ("on", "beach"),
    ("on", "island"),
    ("on", "roof"),
    ("on", "porch"),
];

/// Qualities that a thing can be asked about.
pub(crate) const COLORS: &[&str] = &[
    "red", "blue", "green", "yellow", "white", "black", "brown", "orange", "gray", "purple",
    "pink", "golden", "silver",
];

pub(crate) const QUALITIES: &[&str] = &[
    "small", "old", "new", "heavy", "shiny", "broken", "wooden", "tiny", "strange", "ancient",
    "empty", "pretty", "dusty", "round", "ugly", "odd", "fine", "plain",
];

pub(crate) const THINGS: &[&str] = &[
    "ball", "book", "kite", "lamp", "apple", "drum", "hat", "key", "box", "cup", "doll", "map",
    "coin", "ring", "rope", "basket", "bell", "boat", "bottle", "brush", "candle", "coat",
    "feather", "flute", "hammer", "jar", "letter", "mirror", "needle", "pear", "pen", "pot",
    "ribbon", "scarf", "shell", "spoon", "stone", "sword", "umbrella", "vase", "violin", "whistle",
    "anchor", "egg", "acorn", "envelope", "blanket", "clock", "lantern",
];

pub(crate) const PLEASED: &[&str] = &["happy", "glad", "delighted", "cheerful", "grateful"];
pub(crate) const LONELY: &[&str] = &["sad", "lonely", "unhappy", "worried", "upset"];
pub(crate) const LUCKY: &[&str] = &["excited", "lucky", "surprised", "amazed", "pleased"];
pub(crate) const PROUD: &[&str] = &["proud", "content", "calm", "satisfied"];

pub(crate) const OPENINGS: &[&str] = &[
    "It was a cold morning.",
    "It was a warm evening.",
    "It was the first day of spring.",
    "It was an ordinary day.",
    "The sun had just come up.",
    "Rain had fallen all night.",
    "Snow lay on the ground.",
    "It was late in the afternoon.",
    "It was a windy day in autumn.",
    "The sky was clear and blue.",
    "Nobody expected much of that day.",
    "This is a short story.",
    "The holidays had begun at last.",
    "A long winter was over.",
    "It was almost noon.",
    "The day began like any other.",
];

/// Sentences that change nothing, so that what matters must be remembered past them.
pub(crate) const ASIDES: &[&str] = &[
    "A dog barked far away.",
    "The clouds moved slowly across the sky.",
    "Somewhere a door closed.",
    "The wind blew through the trees.",
    "A cat slept in the sun.",
    "The church bells rang.",
    "It began to rain a little.",
    "Then the rain stopped.",
    "Birds were singing everywhere.",
    "For a while nothing happened.",
    "The air smelled of fresh bread.",
    "A cart rolled by.",
    "It was very quiet.",
    "The sun went behind a cloud.",
    "A clock struck three.",
    "A clock struck five.",
    "Leaves fell from the trees.",
    "Somebody laughed in the distance.",
    "The light was already fading.",
    "Smoke rose from the chimneys.",
    "Two crows flew over the roofs.",
    "Everyone was a little tired.",
    "Time passed slowly.",
    "Not a soul was in the street.",
];

/// "a" or "an", with the word.
pub(crate) fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {word}")
}
