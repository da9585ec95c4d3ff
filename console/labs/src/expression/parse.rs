//! Reads an expression into its tree.

use std::ops::Range;

use super::{
    Comparison, Filter, Flaw, Label, Node, Operator, Part, Path, Value,
    token::{Token, cut},
};

/// Parentheses and functions inside of one another.
const DEEPEST: usize = 40;
/// The longest expression, in bytes.
const LONGEST: usize = 4_000;

pub(super) fn parse(text: &str) -> Result<Part, Flaw> {
    if text.len() > LONGEST {
        return Err(Flaw::new(0..0, format!("more than {LONGEST} bytes")));
    }
    let mut parser = Parser {
        tokens: cut(text)?,
        at: 0,
        depth: 0,
        end: text.trim_end().len(),
    };
    let root = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(root),
        Some((_, place)) => Err(Flaw::new(
            place.clone(),
            "the expression should have ended before this",
        )),
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    depth: usize,
    end: usize,
}

type Read<T> = Result<T, Flaw>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// Where the next token stands.
    fn here(&self) -> Range<usize> {
        self.tokens
            .get(self.at)
            .map_or(self.end..self.end, |(_, place)| place.clone())
    }

    fn next(&mut self) -> Option<(Token, Range<usize>)> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(is);
        is
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Name(next)) if next == word);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Read<()> {
        if self.takes(sign) {
            Ok(())
        } else {
            Err(Flaw::new(self.here(), format!("{sign:?} is wanted here")))
        }
    }

    fn name(&mut self, what: &str) -> Read<(String, Range<usize>)> {
        match self.next() {
            Some((Token::Name(name), place)) => Ok((name, place)),
            other => Err(Flaw::new(
                other.map_or(self.end..self.end, |(_, place)| place),
                format!("{what} is wanted here"),
            )),
        }
    }

    fn or(&mut self) -> Read<Part> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Flaw::new(self.here(), "too many parentheses"));
        }
        let mut left = self.and()?;
        while self.takes_word("or") {
            let right = self.and()?;
            left = join(left, right, Node::Or);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Read<Part> {
        let mut left = self.not()?;
        while self.takes_word("and") {
            let right = self.not()?;
            left = join(left, right, Node::And);
        }
        Ok(left)
    }

    fn not(&mut self) -> Read<Part> {
        let start = self.here().start;
        if !self.takes_word("not") {
            return self.comparison();
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Flaw::new(self.here(), "too many times \"not\""));
        }
        let inner = self.not()?;
        self.depth -= 1;
        let place = start..inner.place.end;
        Ok(Part {
            node: Node::Not(Box::new(inner)),
            place,
        })
    }

    fn comparison(&mut self) -> Read<Part> {
        let left = self.sum()?;
        let Some(comparison) = self.compares() else {
            return Ok(left);
        };
        let right = self.sum()?;
        Ok(join(left, right, |left, right| {
            Node::Compare(comparison, left, right)
        }))
    }

    fn compares(&mut self) -> Option<Comparison> {
        Comparison::ALL
            .into_iter()
            .find(|comparison| self.takes(comparison.sign()))
    }

    fn sum(&mut self) -> Read<Part> {
        self.chain([Operator::Plus, Operator::Minus], Self::product)
    }

    fn product(&mut self) -> Read<Part> {
        self.chain([Operator::Times, Operator::Over], Self::sign)
    }

    fn chain(&mut self, of: [Operator; 2], inner: fn(&mut Self) -> Read<Part>) -> Read<Part> {
        let mut left = inner(self)?;
        while let Some(operator) = of.into_iter().find(|operator| self.takes(operator.sign())) {
            let right = inner(self)?;
            left = join(left, right, |left, right| {
                Node::Arithmetic(operator, left, right)
            });
        }
        Ok(left)
    }

    fn sign(&mut self) -> Read<Part> {
        let start = self.here().start;
        if !self.takes("-") {
            return self.atom();
        }
        let inner = self.atom()?;
        let place = start..inner.place.end;
        Ok(Part {
            node: Node::Negative(Box::new(inner)),
            place,
        })
    }

    fn atom(&mut self) -> Read<Part> {
        let missing = || {
            Flaw::new(
                self.end..self.end,
                "something is missing here: a number, a name or a text",
            )
        };
        let (token, place) = self.tokens.get(self.at).cloned().ok_or_else(missing)?;
        self.at += 1;
        let node = match token {
            Token::Number(number) => Node::Number(number),
            Token::Time(time) => Node::Time(time),
            Token::Text(text) => Node::Text(text),
            Token::Sign("(") => {
                let inner = self.or()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign(sign) => {
                return Err(Flaw::new(
                    place,
                    format!("a number, a name or a text is wanted, not {sign:?}"),
                ));
            }
            Token::Name(name) => match name.as_str() {
                "true" => Node::Truth(true),
                "false" => Node::Truth(false),
                "and" | "or" | "not" => {
                    return Err(Flaw::new(
                        place,
                        format!("a number, a name or a text is wanted, not {name:?}"),
                    ));
                }
                _ if self.takes("(") => Node::Call(name, self.arguments()?),
                _ => Node::Path(self.path(name)?),
            },
        };
        let end = self.tokens[..self.at.min(self.tokens.len())]
            .last()
            .map_or(place.end, |(_, last)| last.end);
        Ok(Part {
            node,
            place: place.start..end,
        })
    }

    fn arguments(&mut self) -> Read<Vec<Part>> {
        let mut arguments = Vec::new();
        if self.takes(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.or()?);
            if self.takes(")") {
                return Ok(arguments);
            }
            if !self.takes(",") {
                return Err(Flaw::new(self.here(), "\",\" or \")\" is wanted here"));
            }
        }
    }

    fn path(&mut self, head: String) -> Read<Path> {
        let mut path = Path {
            head,
            tail: Vec::new(),
            labels: Vec::new(),
            filters: Vec::new(),
        };
        loop {
            if self.takes(".") {
                path.tail.push(self.name("a name after the dot")?.0);
            } else if path.tail.is_empty() && self.takes("[") {
                self.filters(&mut path.filters)?;
            } else if !path.tail.is_empty() && path.labels.is_empty() && self.takes("{") {
                path.labels = self.labels()?;
            } else {
                return Ok(path);
            }
        }
    }

    fn filters(&mut self, filters: &mut Vec<Filter>) -> Read<()> {
        loop {
            let (column, place) = self.name("a column, such as status,")?;
            let comparison = self
                .compares()
                .ok_or_else(|| Flaw::new(self.here(), "a comparison is wanted here, such as =="))?;
            let value = match self.next() {
                Some((Token::Number(number), _)) => Value::Number(number),
                Some((Token::Time(time), _)) => Value::Time(time),
                Some((Token::Text(text), _)) => Value::Text(text),
                other => {
                    return Err(Flaw::new(
                        other.map_or(self.end..self.end, |(_, place)| place),
                        "inside of [ ] a column is compared with a number, a time or a text",
                    ));
                }
            };
            let end = self.tokens[self.at - 1].1.end;
            filters.push(Filter {
                column,
                comparison,
                value,
                place: place.start..end,
            });
            if self.takes("]") {
                return Ok(());
            }
            if !self.takes_word("and") {
                return Err(Flaw::new(self.here(), "\"]\" or \"and\" is wanted here"));
            }
        }
    }

    fn labels(&mut self) -> Read<Vec<Label>> {
        let mut labels = Vec::new();
        loop {
            let (name, _) = self.name("a label")?;
            let equal = if self.takes("!=") {
                false
            } else {
                self.expect("=")?;
                true
            };
            match self.next() {
                Some((Token::Text(value), _)) => labels.push(Label { name, equal, value }),
                other => {
                    return Err(Flaw::new(
                        other.map_or(self.end..self.end, |(_, place)| place),
                        "the label's value is wanted here, in quotes",
                    ));
                }
            }
            if self.takes("}") {
                return Ok(labels);
            }
            self.expect(",")?;
        }
    }
}

fn join(left: Part, right: Part, node: impl FnOnce(Box<Part>, Box<Part>) -> Node) -> Part {
    let place = left.place.start..right.place.end;
    Part {
        node: node(Box::new(left), Box::new(right)),
        place,
    }
}
