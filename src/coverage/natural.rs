//! Names in the order in which people count: n2 before n10.

use std::cmp::Ordering;

/// Compares numbers in names by their value, all else byte by byte.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let order = match (left, right) {
            ([], []) => return a.cmp(b),
            ([x, ..], [y, ..]) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (one, rest_of_left) = number(left);
                let (other, rest_of_right) = number(right);
                (left, right) = (rest_of_left, rest_of_right);
                one.len().cmp(&other.len()).then(one.cmp(other))
            }
            ([x, rest_of_left @ ..], [y, rest_of_right @ ..]) => {
                (left, right) = (rest_of_left, rest_of_right);
                x.cmp(y)
            }
            (rest, _) => return if rest.is_empty() { Ordering::Less } else { Ordering::Greater },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits that a text begins with, without zeros before them, and what follows.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|byte| **byte == b'0').count();
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_counted() {
        let mut names = ["n10", "n2", "n02", "n1", "a", "n", "n1-10", "n1-9", "ü", ""];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["", "a", "n", "n1", "n1-9", "n1-10", "n02", "n2", "n10", "ü"]);
    }
}
