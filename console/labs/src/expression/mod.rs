//! The small language of conditions and figures: `slow.p99 < fast.p99 * 2`.
//!
//! ```text
//! expression = or ;  or = and { "or" and } ;  and = not { "and" not } ;  not = [ "not" ] comparison
//! comparison = sum [ ("<" | "<=" | "==" | "!=" | ">=" | ">") sum ]
//! sum = product { ("+" | "-") product } ;  product = sign { ("*" | "/") sign } ;  sign = [ "-" ] atom
//! atom = number [ "ms" | "s" | "m" | "%" ] | text | "true" | "false" | "(" expression ")" | function "(" … ")" | path
//! path = name [ "{" label ("=" | "!=") text { "," … } "}" ] { "[" column comparison value { "and" … } "]" } { "." name }
//! ```
//!
//! There are four types: numbers, times (in milliseconds), texts and truths; they do not mix, except that a time may be multiplied and
//! divided. A path is a metric (`gateway.recarga_retries_total`, the sum over the instances of a role and over all labels that are not
//! named), or a figure of a measurement (`slow.p99`, `slow[gateway == "gateway-2"].count`). What can be asked of them is in
//! [`check`]. Whatever cannot be known yet (no samples, nothing scraped) makes the whole expression unknown, never false.

mod check;
mod evaluate;
mod parse;
mod print;
mod token;
mod value;

use std::ops::Range;

pub use check::{FUNCTIONS, Scope};
pub use evaluate::{Unknown, readings};
pub use value::{Type, Value};

/// An expression that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Flaw {
    /// Its bytes in the expression.
    pub place: Range<usize>,
    pub reason: String,
}

impl Flaw {
    pub(crate) fn new(place: Range<usize>, reason: impl Into<String>) -> Self {
        Self {
            place,
            reason: reason.into(),
        }
    }
}

/// A checked expression with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    root: Part,
}

impl Expression {
    /// Reads and checks. It may be of any type.
    ///
    /// # Errors
    /// With the place of the first flaw.
    pub fn read(text: &str, scope: &Scope) -> Result<Self, Flaw> {
        let root = parse::parse(text)?;
        check::check(&root, scope)?;
        Ok(Self {
            text: text.trim().to_owned(),
            root,
        })
    }

    /// The same for what must be true or false.
    ///
    /// # Errors
    /// With the place of the first flaw.
    pub fn condition(text: &str, scope: &Scope) -> Result<Self, Flaw> {
        let condition = Self::read(text, scope)?;
        match check::check(&condition.root, scope)? {
            Type::Truth => Ok(condition),
            other => Err(Flaw::new(
                condition.root.place,
                format!(
                    "a condition is wanted, and this is {}; compare it with something",
                    other.name()
                ),
            )),
        }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Calls `seen` with each metric that it asks for.
    pub fn metrics(&self, seen: &mut impl FnMut(&str, &str)) {
        self.root.each(&mut |part| {
            if let Node::Path(path) = &part.node
                && let Some((role, metric)) = path.metric()
            {
                seen(role, metric);
            }
        });
    }

    /// The invariants that it asks for.
    #[must_use]
    pub fn invariants(&self) -> Vec<usize> {
        let mut numbers = Vec::new();
        self.root.each(&mut |part| {
            if let Node::Call(name, arguments) = &part.node
                && name == "holds"
                && let Some(Node::Number(number)) = arguments.first().map(|part| &part.node)
            {
                numbers.push(*number as usize);
            }
        });
        numbers
    }
}

/// A part of an expression, and its bytes.
#[derive(Clone, Debug)]
struct Part {
    node: Node,
    place: Range<usize>,
}

/// Where it stands does not matter.
impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    /// Milliseconds.
    Time(f64),
    Text(String),
    Truth(bool),
    Not(Box<Part>),
    Negative(Box<Part>),
    And(Box<Part>, Box<Part>),
    Or(Box<Part>, Box<Part>),
    Compare(Comparison, Box<Part>, Box<Part>),
    Arithmetic(Operator, Box<Part>, Box<Part>),
    Path(Path),
    Call(String, Vec<Part>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    Different,
    AtLeast,
    More,
}

impl Comparison {
    const ALL: [Self; 6] = [
        Self::Less,
        Self::AtMost,
        Self::Equal,
        Self::Different,
        Self::AtLeast,
        Self::More,
    ];

    fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::Different => "!=",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }

    fn of(self, order: Option<std::cmp::Ordering>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        matches!(
            (self, order),
            (Self::Less, Some(Less))
                | (Self::AtMost, Some(Less | Equal))
                | (Self::Equal, Some(Equal))
                | (Self::Different, None | Some(Less | Greater))
                | (Self::AtLeast, Some(Greater | Equal))
                | (Self::More, Some(Greater))
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

impl Operator {
    #[cfg(test)]
    const ALL: [Self; 4] = [Self::Plus, Self::Minus, Self::Times, Self::Over];

    fn sign(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Over => "/",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Path {
    head: String,
    tail: Vec<String>,
    labels: Vec<Label>,
    filters: Vec<Filter>,
}

impl Path {
    /// Role and name, where it is a metric.
    fn metric(&self) -> Option<(&str, &str)> {
        match self.tail.as_slice() {
            [metric] if crate::metrics::ROLES.contains(&self.head.as_str()) => {
                Some((&self.head, metric))
            }
            _ => None,
        }
    }
}

/// `queue="tasks"`; a `*` at the end of the text stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub name: String,
    pub equal: bool,
    pub value: String,
}

impl Label {
    /// Whether a value of the label is meant; a label that is missing is an empty text.
    pub(crate) fn meets(&self, value: &str) -> bool {
        let same = match self.value.strip_suffix('*') {
            Some(beginning) => value.starts_with(beginning),
            None => value == self.value,
        };
        same == self.equal
    }
}

/// `gateway == "gateway-2"`.
#[derive(Clone, Debug)]
struct Filter {
    column: String,
    comparison: Comparison,
    value: Value,
    place: Range<usize>,
}

/// Where it stands does not matter.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            column,
            comparison,
            value,
            place: _,
        } = self;
        (column, comparison, value) == (&other.column, &other.comparison, &other.value)
    }
}

impl Part {
    fn each(&self, seen: &mut impl FnMut(&Self)) {
        seen(self);
        match &self.node {
            Node::Not(one) | Node::Negative(one) => one.each(seen),
            Node::And(left, right)
            | Node::Or(left, right)
            | Node::Compare(_, left, right)
            | Node::Arithmetic(_, left, right) => {
                left.each(seen);
                right.each(seen);
            }
            Node::Call(_, arguments) => {
                for argument in arguments {
                    argument.each(seen);
                }
            }
            Node::Number(_) | Node::Time(_) | Node::Text(_) | Node::Truth(_) | Node::Path(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
