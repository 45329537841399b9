//! Drawing a cast and what happens to it.

use super::lexicon::{
    COLORS, Gender, LONELY, LUCKY, NAMES, PLACES, PLEASED, PROUD, QUALITIES, THINGS, TRADES,
};
use super::world::{Answer, Event, Holder, Person, Place, Question, Reason, World};
use simattn_random::Stream;

/// A character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Character {
    pub(crate) name: &'static str,
    pub(crate) gender: Gender,
    /// What they live by, when it is told.
    pub(crate) trade: Option<&'static str>,
}

/// A thing, told apart by its quality or its noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) quality: &'static str,
    pub(crate) noun: &'static str,
    /// Whether no other thing of the tale has this noun, so that "the ball" says which.
    pub(crate) unique: bool,
}

impl Item {
    /// "red ball".
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.quality, self.noun)
    }
}

/// A step of a tale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    Event(Event),
    Question(Question, Answer),
    /// A sentence without consequence.
    Aside,
}

/// All that is true in a tale, in the order in which it is told.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) people: Vec<Character>,
    /// Preposition of rest and name.
    pub(crate) places: Vec<(&'static str, &'static str)>,
    pub(crate) things: Vec<Item>,
    pub(crate) beats: Vec<Beat>,
}

impl Plot {
    /// Draws a plot.
    pub(crate) fn draw(random: &mut Stream) -> Self {
        let people = draw_people(random);
        let place_count = 2 + random.below(2) as usize;
        let places = distinct(random, PLACES, place_count);
        let things = draw_things(random);
        let mut drawing = Drawing {
            world: World::new(people.len(), things.len()),
            beats: Vec::new(),
            asked: Vec::new(),
            places: places.len(),
            random,
        };
        drawing.set_the_scene();
        let happenings = 3 + drawing.random.below(4);
        let inner_question = drawing.random.below(2 * happenings);
        for index in 0..happenings {
            if !drawing.happen() {
                break;
            }
            if drawing.random.below(4) == 0 {
                drawing.beats.push(Beat::Aside);
            }
            if index == inner_question {
                drawing.ask(&people, &things);
            }
        }
        for _ in 0..2 + drawing.random.below(2) {
            drawing.ask(&people, &things);
        }
        let beats = drawing.beats;
        Self {
            people,
            places,
            things,
            beats,
        }
    }
}

/// `count` different items, in random order; all of them if there are no more.
fn distinct<T: Copy>(random: &mut Stream, items: &[T], count: usize) -> Vec<T> {
    let mut left: Vec<T> = items.to_vec();
    (0..count.min(items.len()))
        .map(|_| left.swap_remove(random.below(left.len() as u64) as usize))
        .collect()
}

fn draw_people(random: &mut Stream) -> Vec<Character> {
    let count = 2 + random.below(2) as usize;
    let trades = distinct(random, TRADES, count);
    distinct(random, NAMES, count)
        .into_iter()
        .zip(trades)
        .map(|((name, gender), trade)| Character {
            name,
            gender,
            trade: (random.below(3) == 0).then_some(trade),
        })
        .collect()
}

fn draw_things(random: &mut Stream) -> Vec<Item> {
    let count = 2 + random.below(2) as usize;
    let mut nouns = distinct(random, THINGS, count);
    // Two things of one noun are told apart by their qualities alone.
    if random.below(4) == 0 {
        nouns[1] = nouns[0];
    }
    let adjectives = if random.below(2) == 0 {
        COLORS
    } else {
        QUALITIES
    };
    let qualities = distinct(random, adjectives, count);
    nouns
        .iter()
        .zip(qualities)
        .map(|(&noun, quality)| Item {
            quality,
            noun,
            unique: nouns.iter().filter(|&&other| other == noun).count() == 1,
        })
        .collect()
}

struct Drawing<'a> {
    random: &'a mut Stream,
    world: World,
    beats: Vec<Beat>,
    asked: Vec<Question>,
    places: usize,
}

impl Drawing<'_> {
    fn tell(&mut self, event: Event) {
        self.world.apply(event);
        self.beats.push(Beat::Event(event));
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| *self.random.pick(from))
    }

    fn set_the_scene(&mut self) {
        let things = self.world.holder_of.len();
        let people = self.world.place_of.len();
        let common = self.random.below(self.places as u64) as Place;
        let mut owners: Vec<Option<Person>> = (0..things)
            .map(|_| {
                let owner = self.random.below(people as u64 + 1) as usize;
                (owner < people).then_some(owner)
            })
            .collect();
        // At least one thing is in somebody's hands.
        owners[0] = owners[0].or(Some(0));
        for who in 0..people {
            let place = if self.random.below(2) == 0 {
                common
            } else {
                self.random.below(self.places as u64) as Place
            };
            self.tell(Event::Starts { who, place });
            for (thing, owner) in owners.iter().enumerate() {
                if *owner == Some(who) {
                    self.tell(Event::Owns { who, thing });
                }
            }
        }
        for (thing, owner) in owners.iter().enumerate() {
            if owner.is_none() {
                let place = self.random.below(self.places as u64) as Place;
                self.tell(Event::Lies { thing, place });
            }
        }
    }

    /// Something that is possible now, and perhaps how somebody feels about it; false when nothing
    /// is possible.
    fn happen(&mut self) -> bool {
        let mut options = self.possible();
        // Walking is always possible and would crowd out the rest.
        let walks: Vec<Event> = options
            .iter()
            .copied()
            .filter(|event| matches!(event, Event::Goes { .. }))
            .collect();
        options.retain(|event| !matches!(event, Event::Goes { .. }));
        let walk = options.is_empty() || self.random.below(3) == 0;
        let Some(event) = self.pick(if walk { &walks } else { &options }) else {
            return false;
        };
        let feeling = self.feeling_about(event);
        self.tell(event);
        if let Some(feeling) = feeling
            && self.random.below(2) == 0
        {
            self.tell(feeling);
        }
        true
    }

    fn possible(&self) -> Vec<Event> {
        let mut options = Vec::new();
        let last = self.beats.iter().rev().find_map(|beat| match beat {
            Beat::Event(Event::Feels { .. }) => None,
            Beat::Event(event) => Some(*event),
            _ => None,
        });
        for who in 0..self.world.place_of.len() {
            let Some(here) = self.world.place_of[who] else {
                continue;
            };
            // Nobody walks twice in a row.
            if !matches!(last, Some(Event::Goes { who: walker, .. }) if walker == who) {
                options.extend(
                    (0..self.places)
                        .filter(|&place| place != here)
                        .map(|place| Event::Goes { who, place }),
                );
            }
            for thing in 0..self.world.holder_of.len() {
                if self.world.holder_of[thing] == Some(Holder::Place(here)) {
                    // Nor takes up what was just put down.
                    if !matches!(last, Some(Event::Leaves { thing: left, .. }) if left == thing) {
                        options.push(Event::Takes { who, thing });
                    }
                } else if self.world.holder_of[thing] == Some(Holder::Person(who)) {
                    if !matches!(last, Some(Event::Takes { thing: taken, .. } | Event::Gives { thing: taken, .. }) if taken == thing)
                    {
                        options.push(Event::Leaves {
                            who,
                            thing,
                            place: here,
                        });
                    }
                    options.extend(
                        (0..self.world.place_of.len())
                            .filter(|&to| to != who && self.world.place_of[to] == Some(here))
                            .filter(|&to| !matches!(last, Some(Event::Gives { from, thing: given, .. }) if from == to && given == thing))
                            .map(|to| Event::Gives {
                                from: who,
                                to,
                                thing,
                            }),
                    );
                }
            }
        }
        options
    }

    /// How somebody may feel after this event, which has not happened yet.
    fn feeling_about(&mut self, event: Event) -> Option<Event> {
        let (who, moods, reason) = match event {
            Event::Gives { from, to, thing } if self.random.below(3) == 0 => {
                (from, PROUD, Reason::Gave { other: to, thing })
            }
            Event::Gives { from, to, thing } => {
                (to, PLEASED, Reason::WasGiven { giver: from, thing })
            }
            Event::Takes { who, thing } => (who, LUCKY, Reason::Found { thing }),
            Event::Goes { who, place } => {
                let here = self.world.place_of[who];
                let left: Vec<Person> = (0..self.world.place_of.len())
                    .filter(|&other| other != who && self.world.place_of[other] == here)
                    .collect();
                let [alone] = left[..] else {
                    return None;
                };
                (alone, LONELY, Reason::LeftBehind { other: who, place })
            }
            _ => return None,
        };
        // One feeling a person, so that a question about it has one answer.
        if self.world.feeling_of[who].is_some() {
            return None;
        }
        let mood = self.pick(moods)?;
        Some(Event::Feels { who, mood, reason })
    }

    /// Asks something that has an answer and has not been asked since; kinds of questions are
    /// equally likely.
    fn ask(&mut self, people: &[Character], things: &[Item]) {
        let mut kinds: Vec<Vec<Question>> = vec![
            (0..things.len())
                .map(|thing| Question::WhoHas { thing })
                .collect(),
            (0..people.len())
                .map(|who| Question::WhereIsPerson { who })
                .collect(),
            (0..things.len())
                .map(|thing| Question::WhereIsThing { thing })
                .collect(),
            (0..people.len())
                .filter(|&who| self.world.first_place[who] != self.world.place_of[who])
                .map(|who| Question::WhereAtFirst { who })
                .collect(),
            self.world
                .gifts
                .iter()
                .map(|&(_, to, thing)| Question::WhoGave { to, thing })
                .collect(),
            (0..people.len())
                .map(|who| Question::WhatHas { who })
                .collect(),
            (0..people.len())
                .map(|who| Question::WhyFeels { who })
                .collect(),
            (0..people.len())
                .filter(|&who| people[who].trade.is_some())
                .map(|who| Question::WhoIs { who })
                .collect(),
            (0..things.len())
                .filter(|&thing| things[thing].unique && COLORS.contains(&things[thing].quality))
                .map(|thing| Question::WhichKind { thing })
                .collect(),
        ];
        for kind in &mut kinds {
            kind.retain(|question| {
                !self.asked.contains(question) && self.world.answer(*question).is_some()
            });
        }
        kinds.retain(|kind| !kind.is_empty());
        if kinds.is_empty() {
            return;
        }
        let kind = self.random.below(kinds.len() as u64) as usize;
        if let Some(question) = self.pick(&kinds[kind])
            && let Some(answer) = self.world.answer(question)
        {
            self.asked.push(question);
            self.beats.push(Beat::Question(question, answer));
        }
    }
}
