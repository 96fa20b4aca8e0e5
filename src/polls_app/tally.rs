//! The votes of a question, counted per choice, with their percentages.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    entities::{choice, question, question_options},
    signing::hex,
    web::format::with_noun,
};

/// The votes of a question.
#[derive(Debug, Serialize)]
pub struct Tally {
    /// The votes of all choices.
    #[serde(skip)]
    pub total: i64,
    /// The number of votes of all choices, with its noun.
    pub votes: String,
    /// The number of ballots with its noun, where a ballot may have several choices.
    pub voters: Option<String>,
    /// The choices, in the order of their keys.
    pub choices: Vec<ChoiceTally>,
}

/// The votes of a choice.
#[derive(Debug, Serialize)]
pub struct ChoiceTally {
    /// The key.
    pub id: i32,
    /// The text.
    pub text: String,
    /// The number of votes.
    #[serde(skip)]
    pub count: i64,
    /// The number of votes with its noun.
    pub votes: String,
    /// The percentage of all votes: the length of the bar. Those of all choices add up to 100.
    pub percent: i64,
    /// The percentage as text, such as `<1%`.
    pub share: String,
    /// Whether no choice has more votes.
    pub leads: bool,
    /// Whether it was chosen in the vote that led to the page.
    pub is_own: bool,
}

impl Tally {
    /// The votes of a question's choices; `is_own` says whether a choice was chosen in the visitor's vote.
    pub fn new(
        choices: Vec<choice::Model>,
        options: &question_options::Model,
        is_own: impl Fn(i32) -> bool,
    ) -> Self {
        let votes: Vec<i64> = choices.iter().map(votes_of).collect();
        let total = votes.iter().copied().fold(0, i64::saturating_add);
        let max_votes = votes.iter().copied().max().unwrap_or_default();
        let percentages = percentages(&votes, total);
        let of_choice = |((choice, votes), percent): ((choice::Model, i64), i64)| ChoiceTally {
            id: choice.id,
            is_own: is_own(choice.id),
            text: choice.choice_text,
            count: votes,
            votes: with_noun(votes, "vote"),
            percent,
            share: match percent {
                0 if votes > 0 => "<1%".to_owned(),
                100 if votes < total => ">99%".to_owned(),
                _ => format!("{percent}%"),
            },
            leads: max_votes > 0 && votes == max_votes,
        };
        Self {
            total,
            votes: with_noun(total, "vote"),
            // Of other votes it is not known how many visitors they are of.
            voters: (options.max_choices > 1 && total == options.ballot_votes)
                .then(|| with_noun(options.voters, "voter")),
            choices: choices
                .into_iter()
                .zip(votes)
                .zip(percentages)
                .map(of_choice)
                .collect(),
        }
    }

    /// The number of votes and, where it is known and may differ, of voters.
    pub fn votes_and_voters(&self) -> String {
        match &self.voters {
            Some(voters) => format!("{} by {voters}", self.votes),
            None => self.votes.clone(),
        }
    }
}

/// The votes of a choice. The column allows negative numbers, which count as 0.
fn votes_of(choice: &choice::Model) -> i64 {
    choice.votes.0.max(0)
}

/// A digest of what the results of a question show besides the votes: when it changes, a page has to be loaded again.
pub fn version(
    question: &question::Model,
    choices: &[choice::Model],
    options: &question_options::Model,
    is_closed: bool,
) -> String {
    let choices = choices
        .iter()
        .map(|choice| (choice.id, &choice.choice_text));
    let shown = (
        &question.question_text,
        choices.collect::<Vec<_>>(),
        (options.policy, options.results, options.max_choices),
        (options.closes_at, is_closed),
    );
    // Its text tells all values apart.
    hex(&Sha256::digest(format!("{shown:?}"))[..8])
}

/// The percentages of the votes, which add up to 100 (the largest remainder method); all 0 without votes.
fn percentages(votes: &[i64], total: i64) -> Vec<i64> {
    if total == 0 {
        return vec![0; votes.len()];
    }
    let total = i128::from(total);
    let hundredfold = |votes: &i64| 100 * i128::from(*votes);
    let mut percentages: Vec<i64> = votes
        .iter()
        .map(|votes| (hundredfold(votes) / total) as i64)
        .collect();
    let mut by_remainder: Vec<usize> = (0..votes.len()).collect();
    // Stable: of equal remainders, the first choice's.
    by_remainder.sort_by_key(|&index| -(hundredfold(&votes[index]) % total));
    let missing = 100 - percentages.iter().sum::<i64>();
    for &index in by_remainder.iter().take(missing.max(0) as usize) {
        percentages[index] += 1;
    }
    percentages
}

#[cfg(test)]
mod tests {
    use super::percentages;

    #[test]
    fn percentages_add_up_to_100() {
        for (votes, expected) in [
            (vec![1, 1, 1], vec![34, 33, 33]),
            (vec![0, 0], vec![0, 0]),
            (vec![], vec![]),
            (vec![2, 1], vec![67, 33]),
            (vec![1, 0, 999], vec![0, 0, 100]),
            (vec![1; 7], vec![15, 15, 14, 14, 14, 14, 14]),
            (vec![i64::MAX / 2, i64::MAX / 2], vec![50, 50]),
        ] {
            assert_eq!(percentages(&votes, votes.iter().sum()), expected);
        }
    }
}
