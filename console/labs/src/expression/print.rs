//! An expression as text, fully parenthesised where it matters.

use std::fmt;

use super::{Expression, Filter, Label, Node, Part, Path, Value};

impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.root)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(number) => write!(out, "{number}"),
            Node::Time(time) => write!(out, "{time}ms"),
            Node::Text(text) => quoted(out, text),
            Node::Truth(truth) => write!(out, "{truth}"),
            Node::Not(inner) => write!(out, "not {}", Inner(inner)),
            Node::Negative(inner) => write!(out, "-{}", Inner(inner)),
            Node::And(left, right) => write!(out, "{} and {}", Inner(left), Inner(right)),
            Node::Or(left, right) => write!(out, "{} or {}", Inner(left), Inner(right)),
            Node::Compare(comparison, left, right) => {
                write!(
                    out,
                    "{} {} {}",
                    Inner(left),
                    comparison.sign(),
                    Inner(right)
                )
            }
            Node::Arithmetic(operator, left, right) => {
                write!(out, "{} {} {}", Inner(left), operator.sign(), Inner(right))
            }
            Node::Path(path) => write!(out, "{path}"),
            Node::Call(name, arguments) => {
                write!(out, "{name}(")?;
                for (index, argument) in arguments.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(out, "{comma}{argument}")?;
                }
                out.write_str(")")
            }
        }
    }
}

/// An operand.
struct Inner<'a>(&'a Part);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.node {
            Node::Not(_)
            | Node::Negative(_)
            | Node::And(..)
            | Node::Or(..)
            | Node::Compare(..)
            | Node::Arithmetic(..) => write!(out, "({})", self.0),
            _ => write!(out, "{}", self.0),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.head)?;
        for (index, filter) in self.filters.iter().enumerate() {
            write!(out, "{}{filter}", if index == 0 { "[" } else { " and " })?;
        }
        if !self.filters.is_empty() {
            out.write_str("]")?;
        }
        for name in &self.tail {
            write!(out, ".{name}")?;
        }
        for (index, label) in self.labels.iter().enumerate() {
            write!(out, "{}{label}", if index == 0 { "{" } else { ", " })?;
        }
        if !self.labels.is_empty() {
            out.write_str("}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.name, if self.equal { "=" } else { "!=" })?;
        quoted(out, &self.value)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ", self.column, self.comparison.sign())?;
        match &self.value {
            Value::Number(number) => write!(out, "{number}"),
            Value::Time(time) => write!(out, "{time}ms"),
            Value::Text(text) => quoted(out, text),
            Value::Truth(truth) => write!(out, "{truth}"),
        }
    }
}

/// A text holds one sort of quotes at most: the other one stands around it.
fn quoted(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('"') { '\'' } else { '"' };
    write!(out, "{quote}{text}{quote}")
}
