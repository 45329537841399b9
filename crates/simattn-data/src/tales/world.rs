//! What is true in a tale, apart from any wording.

/// Index of a character in its tale.
pub(crate) type Person = usize;
/// Index of a place in its tale.
pub(crate) type Place = usize;
/// Index of a thing in its tale.
pub(crate) type Thing = usize;

/// Where a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Person(Person),
    Place(Place),
}

/// Why somebody feels something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `giver` had given them `thing`.
    WasGiven { giver: Person, thing: Thing },
    /// They had given `thing` to `other`.
    Gave { other: Person, thing: Thing },
    /// They had found `thing`.
    Found { thing: Thing },
    /// `other` had gone away to `place`.
    LeftBehind { other: Person, place: Place },
}

/// Something that happens, or that is so from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Starts {
        who: Person,
        place: Place,
    },
    Owns {
        who: Person,
        thing: Thing,
    },
    Lies {
        thing: Thing,
        place: Place,
    },
    Goes {
        who: Person,
        place: Place,
    },
    Takes {
        who: Person,
        thing: Thing,
    },
    Gives {
        from: Person,
        to: Person,
        thing: Thing,
    },
    /// `place` is where they stand.
    Leaves {
        who: Person,
        thing: Thing,
        place: Place,
    },
    Feels {
        who: Person,
        mood: &'static str,
        reason: Reason,
    },
}

/// Something that can be asked; what is asked about has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    WhoHas {
        thing: Thing,
    },
    WhereIsPerson {
        who: Person,
    },
    WhereIsThing {
        thing: Thing,
    },
    WhereAtFirst {
        who: Person,
    },
    WhoGave {
        to: Person,
        thing: Thing,
    },
    WhatHas {
        who: Person,
    },
    WhyFeels {
        who: Person,
    },
    WhoIs {
        who: Person,
    },
    /// The quality of a thing.
    WhichKind {
        thing: Thing,
    },
}

/// The true answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Person(Person),
    Place(Place),
    Thing(Thing),
    /// Nobody holds the thing; it lies there.
    Lies(Place),
    /// The person holds nothing.
    Nothing,
    Feeling(&'static str, Reason),
    /// What the cast list says: trade of a person or quality of a thing.
    Given,
}

/// The state of a tale after some of its events.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) first_place: Vec<Option<Place>>,
    pub(crate) place_of: Vec<Option<Place>>,
    pub(crate) holder_of: Vec<Option<Holder>>,
    pub(crate) feeling_of: Vec<Option<(&'static str, Reason)>>,
    /// (giver, receiver, thing), in order.
    pub(crate) gifts: Vec<(Person, Person, Thing)>,
}

impl World {
    /// A world of which nothing has been told.
    pub(crate) fn new(people: usize, things: usize) -> Self {
        Self {
            first_place: vec![None; people],
            place_of: vec![None; people],
            holder_of: vec![None; things],
            feeling_of: vec![None; people],
            gifts: Vec::new(),
        }
    }

    /// Lets an event happen.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Starts { who, place } => {
                self.first_place[who] = Some(place);
                self.place_of[who] = Some(place);
            }
            Event::Goes { who, place } => self.place_of[who] = Some(place),
            Event::Owns { who, thing } | Event::Takes { who, thing } => {
                self.holder_of[thing] = Some(Holder::Person(who));
            }
            Event::Lies { thing, place } | Event::Leaves { thing, place, .. } => {
                self.holder_of[thing] = Some(Holder::Place(place))
            }
            Event::Gives { from, to, thing } => {
                self.holder_of[thing] = Some(Holder::Person(to));
                self.gifts.push((from, to, thing));
            }
            Event::Feels { who, mood, reason } => self.feeling_of[who] = Some((mood, reason)),
        }
    }

    /// Where a thing is, carried or not.
    pub(crate) fn place_of_thing(&self, thing: Thing) -> Option<Place> {
        match self.holder_of[thing]? {
            Holder::Person(who) => self.place_of[who],
            Holder::Place(place) => Some(place),
        }
    }

    /// What a person holds.
    pub(crate) fn held_by(&self, who: Person) -> Vec<Thing> {
        (0..self.holder_of.len())
            .filter(|&thing| self.holder_of[thing] == Some(Holder::Person(who)))
            .collect()
    }

    /// The answer; `None` when what has been told leaves it open or does not make it unique.
    pub(crate) fn answer(&self, question: Question) -> Option<Answer> {
        match question {
            Question::WhoHas { thing } => Some(match self.holder_of[thing]? {
                Holder::Person(who) => Answer::Person(who),
                Holder::Place(place) => Answer::Lies(place),
            }),
            Question::WhereIsPerson { who } => self.place_of[who].map(Answer::Place),
            Question::WhereIsThing { thing } => self.place_of_thing(thing).map(Answer::Place),
            Question::WhereAtFirst { who } => self.first_place[who].map(Answer::Place),
            Question::WhoGave { to, thing } => {
                let mut givers = self
                    .gifts
                    .iter()
                    .filter(|gift| gift.1 == to && gift.2 == thing)
                    .map(|gift| gift.0);
                let giver = givers.next()?;
                givers
                    .all(|other| other == giver)
                    .then_some(Answer::Person(giver))
            }
            Question::WhatHas { who } => match self.held_by(who)[..] {
                [] => Some(Answer::Nothing),
                [thing] => Some(Answer::Thing(thing)),
                _ => None,
            },
            Question::WhyFeels { who } => {
                self.feeling_of[who].map(|(mood, reason)| Answer::Feeling(mood, reason))
            }
            Question::WhoIs { .. } | Question::WhichKind { .. } => Some(Answer::Given),
        }
    }
}
