//! Putting a plot into English.

use super::lexicon::{ASIDES, OPENINGS, with_article};
use super::plot::{Beat, Plot};
use super::world::{Answer, Event, Person, Place, Question, Reason, Thing};
use simattn_random::Stream;

const GOING: &[&str] = &[
    "went to {to}",
    "walked to {to}",
    "hurried to {to}",
    "ran all the way to {to}",
    "left for {to}",
    "wandered over to {to}",
    "set off and soon reached {to}",
    "took the long way to {to}",
    "made {their} way to {to}",
    "got up and went to {to}",
];

const TAKING: &[&str] = &[
    "picked up {thing}",
    "took {thing}",
    "found {thing} and kept it",
    "saw {thing} and picked it up",
    "put {thing} in {their} bag",
    "came upon {thing} and took it along",
    "looked around and took {thing}",
];

const GIVING: &[&str] = &[
    "gave {thing} to {other}",
    "gave {other} {thing}",
    "handed {thing} to {other}",
    "handed {other} {thing}",
    "passed {thing} to {other} with a smile",
    "let {other} have {thing}",
    "made {other} a present of {thing}",
    "held out {thing}, and {other} took it",
    "said, \"This is for you,\" and gave {thing} to {other}",
    "turned to {other} and handed over {thing}",
];

const LEAVING: &[&str] = &[
    "put {thing} down {in}",
    "left {thing} {in}",
    "dropped {thing} {in}",
    "laid {thing} down {in}",
    "did not want {thing} anymore and left it {in}",
    "set {thing} down {in} and forgot about it",
];

const OWNING: &[&str] = &[
    "had {thing}",
    "carried {thing}",
    "was holding {thing}",
    "owned {thing}",
    "had brought {thing} along",
    "had {thing} in {their} bag",
];

const STARTING: &[&str] = &[
    "was {in}",
    "was sitting {in}",
    "stood {in}",
    "was waiting {in}",
    "was working {in}",
    "had spent the night {in}",
];

const FEELING: &[&str] = &[
    "was {mood} {why}",
    "felt {mood} {why}",
    "was very {mood} {why}",
];

const LYING: &[&str] = &[
    "There was {thing} {in}.",
    "Somebody had left {thing} {in}.",
    "Not far away, {thing} lay {in}.",
    "Nobody had noticed {thing} {in}.",
];

const LINKS: &[&str] = &[
    "Then ",
    "After that, ",
    "Soon ",
    "A little later, ",
    "Before long, ",
    "In the end, ",
    "At that moment ",
    "Next, ",
    "Much later, ",
    "Suddenly ",
];

/// Writes the sentences of a tale, remembering what has been mentioned.
pub(crate) struct Narrator<'a> {
    plot: &'a Plot,
    random: &'a mut Stream,
    /// Whom a pronoun would mean: the subject of the last sentence, when nobody else in it has the
    /// same gender.
    focus: Option<Person>,
    introduced: Vec<bool>,
}

impl<'a> Narrator<'a> {
    pub(crate) fn new(plot: &'a Plot, random: &'a mut Stream) -> Self {
        Self {
            introduced: vec![false; plot.things.len()],
            focus: None,
            plot,
            random,
        }
    }

    /// A first sentence, of no consequence.
    pub(crate) fn opening(&mut self) -> &'static str {
        self.random.pick::<&'static str>(OPENINGS)
    }

    /// The sentence or sentences of one beat.
    pub(crate) fn tell(&mut self, beat: Beat) -> String {
        match beat {
            Beat::Aside => {
                self.focus = None;
                (*self.random.pick(ASIDES)).to_owned()
            }
            Beat::Event(event) => self.event(event),
            Beat::Question(question, answer) => {
                self.focus = None;
                self.question(question, answer)
            }
        }
    }

    fn event(&mut self, event: Event) -> String {
        match event {
            Event::Starts { who, place } => {
                let character = &self.plot.people[who];
                let name = match character.trade {
                    Some(trade) => format!("{}, {},", character.name, with_article(trade)),
                    None => character.name.to_owned(),
                };
                self.focus = Some(who);
                let predicate = self.choose(STARTING).replace("{in}", &self.rest(place));
                format!("{name} {predicate}.")
            }
            Event::Owns { who, thing } => {
                let predicate = self.predicate(OWNING, who, thing);
                self.sentence(who, None, &predicate, false)
            }
            Event::Lies { thing, place } => {
                self.focus = None;
                let thing = self.mention(thing);
                self.choose(LYING)
                    .replace("{thing}", &thing)
                    .replace("{in}", &self.rest(place))
            }
            Event::Goes { who, place } => {
                let predicate = self
                    .choose(GOING)
                    .replace("{to}", &format!("the {}", self.plot.places[place].1))
                    .replace("{their}", self.plot.people[who].gender.possessive());
                self.sentence(who, None, &predicate, true)
            }
            Event::Takes { who, thing } => {
                let predicate = self.predicate(TAKING, who, thing);
                self.sentence(who, None, &predicate, true)
            }
            Event::Gives { from, to, thing } => {
                let predicate = self
                    .predicate(GIVING, from, thing)
                    .replace("{other}", self.plot.people[to].name);
                self.sentence(from, Some(to), &predicate, true)
            }
            Event::Leaves { who, thing, place } => {
                let predicate = self
                    .predicate(LEAVING, who, thing)
                    .replace("{in}", &self.rest(place));
                self.sentence(who, None, &predicate, true)
            }
            Event::Feels { who, mood, reason } => {
                let (why, other) = self.why(who, reason);
                let predicate = self
                    .choose(FEELING)
                    .replace("{mood}", mood)
                    .replace("{why}", &why);
                self.sentence(who, other, &predicate, false)
            }
        }
    }

    fn choose(&mut self, templates: &[&'static str]) -> &'static str {
        self.random.pick::<&'static str>(templates)
    }

    fn predicate(&mut self, templates: &[&'static str], who: Person, thing: Thing) -> String {
        let thing = self.mention(thing);
        self.choose(templates)
            .replace("{thing}", &thing)
            .replace("{their}", self.plot.people[who].gender.possessive())
    }

    /// Subject, predicate and full stop, in which `other` is named too.
    fn sentence(
        &mut self,
        who: Person,
        other: Option<Person>,
        predicate: &str,
        link: bool,
    ) -> String {
        let character = &self.plot.people[who];
        let link = if link && self.random.below(3) == 0 {
            *self.random.pick(LINKS)
        } else {
            ""
        };
        let pronoun = self.focus == Some(who) && self.random.below(2) == 0;
        let subject = match (pronoun, link.is_empty()) {
            (false, _) => character.name.to_owned(),
            (true, false) => character.gender.subject().to_owned(),
            (true, true) => capitalized(character.gender.subject()),
        };
        let ambiguous =
            other.is_some_and(|other| self.plot.people[other].gender == character.gender);
        self.focus = (!ambiguous).then_some(who);
        format!("{link}{subject} {predicate}.")
    }

    /// "a red ball" at first, "the red ball" or "the ball" afterwards.
    fn mention(&mut self, thing: Thing) -> String {
        let item = &self.plot.things[thing];
        if !std::mem::replace(&mut self.introduced[thing], true) {
            return with_article(&item.name());
        }
        if item.unique && self.random.below(2) == 0 {
            format!("the {}", item.noun)
        } else {
            format!("the {}", item.name())
        }
    }

    fn full(&self, thing: Thing) -> String {
        format!("the {}", self.plot.things[thing].name())
    }

    fn rest(&self, place: Place) -> String {
        let (preposition, name) = self.plot.places[place];
        format!("{preposition} the {name}")
    }

    /// The clause of the reason, and the other person named in it.
    fn why(&self, who: Person, reason: Reason) -> (String, Option<Person>) {
        let gender = self.plot.people[who].gender;
        let name = |other: Person| self.plot.people[other].name;
        match reason {
            Reason::WasGiven { giver, thing } => (
                format!(
                    "because {} had given {} {}",
                    name(giver),
                    gender.object(),
                    self.full(thing)
                ),
                Some(giver),
            ),
            Reason::Gave { other, thing } => (
                format!(
                    "because {} had given {} to {}",
                    gender.subject(),
                    self.full(thing),
                    name(other)
                ),
                Some(other),
            ),
            Reason::Found { thing } => (
                format!(
                    "because {} had found {}",
                    gender.subject(),
                    self.full(thing)
                ),
                None,
            ),
            Reason::LeftBehind { other, place } => (
                format!(
                    "because {} had gone to the {}",
                    name(other),
                    self.plot.places[place].1
                ),
                Some(other),
            ),
        }
    }

    fn question(&mut self, question: Question, answer: Answer) -> String {
        let plot = self.plot;
        let name = |who: Person| plot.people[who].name;
        let asked = match question {
            Question::WhoHas { thing } => {
                let thing = self.full(thing);
                let forms = ["Who has {} now?", "Who is holding {}?", "Who holds {} now?"];
                self.random.pick(&forms).replace("{}", &thing)
            }
            Question::WhereIsPerson { who } => {
                let forms = ["Where is {} now?", "Where can we find {}?", "Where is {}?"];
                self.random.pick(&forms).replace("{}", name(who))
            }
            Question::WhereIsThing { thing } => {
                let thing = self.full(thing);
                let forms = ["Where is {} now?", "Where can we find {}?", "Where is {}?"];
                self.random.pick(&forms).replace("{}", &thing)
            }
            Question::WhereAtFirst { who } => {
                let forms = ["Where was {} at first?", "Where was {} in the beginning?"];
                self.random.pick(&forms).replace("{}", name(who))
            }
            Question::WhoGave { to, thing } => {
                format!("Who gave {} to {}?", self.full(thing), name(to))
            }
            Question::WhatHas { who } => {
                let forms = ["What does {} have now?", "What is {} holding?"];
                self.random.pick(&forms).replace("{}", name(who))
            }
            Question::WhyFeels { who } => match answer {
                Answer::Feeling(mood, _) => format!("Why was {} {mood}?", name(who)),
                _ => format!("How was {}?", name(who)),
            },
            Question::WhoIs { who } => {
                format!(
                    "Who is the {}?",
                    plot.people[who].trade.unwrap_or("stranger")
                )
            }
            Question::WhichKind { thing } => {
                format!("What color is the {}?", plot.things[thing].noun)
            }
        };
        format!("{asked} {}", self.answer(question, answer))
    }

    fn answer(&self, question: Question, answer: Answer) -> String {
        let plot = self.plot;
        let name = |who: Person| plot.people[who].name;
        match (question, answer) {
            (Question::WhoHas { thing }, Answer::Person(who)) => {
                format!("{} has {}.", name(who), self.full(thing))
            }
            (Question::WhoHas { thing }, Answer::Lies(place)) => format!(
                "Nobody has {}. It is {}.",
                self.full(thing),
                self.rest(place)
            ),
            (Question::WhereIsPerson { who }, Answer::Place(place)) => {
                format!("{} is {}.", name(who), self.rest(place))
            }
            (Question::WhereIsThing { thing }, Answer::Place(place)) => {
                format!(
                    "{} is {}.",
                    capitalized(&self.full(thing)),
                    self.rest(place)
                )
            }
            (Question::WhereAtFirst { who }, Answer::Place(place)) => {
                format!("{} was {}.", name(who), self.rest(place))
            }
            (Question::WhoGave { to, thing }, Answer::Person(from)) => {
                format!("{} gave {} to {}.", name(from), self.full(thing), name(to))
            }
            (Question::WhatHas { who }, Answer::Thing(thing)) => {
                format!("{} has {}.", name(who), self.full(thing))
            }
            (Question::WhatHas { who }, _) => format!("{} has nothing.", name(who)),
            (Question::WhyFeels { who }, Answer::Feeling(mood, reason)) => {
                format!("{} was {mood} {}.", name(who), self.why(who, reason).0)
            }
            (Question::WhoIs { who }, _) => {
                let trade = plot.people[who].trade.unwrap_or("stranger");
                format!("{} is the {trade}.", name(who))
            }
            (Question::WhichKind { thing }, _) => {
                let item = &plot.things[thing];
                format!("The {} is {}.", item.noun, item.quality)
            }
            // The world answers every question with one of the answers above.
            _ => "Nobody knows.".to_owned(),
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_ascii_uppercase().to_string() + characters.as_str(),
        None => String::new(),
    }
}
