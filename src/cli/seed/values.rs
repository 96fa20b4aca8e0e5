//! The values in a file of polls. Each validates itself while it is deserialised, so that either parser reports the line of an
//! invalid one.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, de};

use super::poll::Text;
use crate::{dateparse::parse_datetime, db::is_storable};

/// A choice: its text, or its text and its votes.
#[derive(Debug)]
pub struct ChoiceEntry {
    /// The text of the choice.
    pub choice: Text,
    /// Its number of votes; 0 if it is not given.
    pub votes: Votes,
}

/// The votes of a choice, from 0.
#[derive(Debug, Default)]
pub struct Votes(pub i32);

/// A time that the database can store: see [`parse_datetime`]; without an offset in UTC.
#[derive(Debug)]
pub struct Time(pub DateTime<Utc>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Votes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Votes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number of votes")
            }

            fn visit_i64<E: de::Error>(self, votes: i64) -> Result<Votes, E> {
                let count = i32::try_from(votes).ok().filter(|votes| *votes >= 0);
                count
                    .map(Votes)
                    .ok_or_else(|| E::custom(format!("{votes} is no number of votes")))
            }

            fn visit_u64<E: de::Error>(self, votes: u64) -> Result<Votes, E> {
                self.visit_i64(i64::try_from(votes).unwrap_or(i64::MAX))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = parse_datetime(&text, Tz::UTC).filter(|time| is_storable(*time));
        time.map(Self).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is no time: write it as 2026-11-20 07:30"))
        })
    }
}

impl<'de> Deserialize<'de> for ChoiceEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct WithVotes {
            choice: Text,
            #[serde(default)]
            votes: Votes,
        }

        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ChoiceEntry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a choice: a text, or `choice` and `votes`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ChoiceEntry {
                    choice: Text::parse(text).map_err(E::custom)?,
                    votes: Votes::default(),
                })
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let WithVotes { choice, votes } =
                    Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ChoiceEntry { choice, votes })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
