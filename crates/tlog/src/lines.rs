//! Reading text of which there is one spelling: decimals and lines.

/// Reads an ASCII decimal without a sign and without zeros in front.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    if is_digits && is_short { text.parse().ok() } else { None }
}

/// Takes the first line off a text, without its end.
pub(crate) fn line<'t>(text: &mut &'t str) -> Option<&'t str> {
    let (line, rest) = text.split_once('\n')?;
    *text = rest;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_one_spelling() {
        for (text, number) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            ("-0", None),
            (" 1", None),
            ("1_0", None),
            ("٣", None),
        ] {
            assert_eq!(decimal(text), number, "{text:?}");
        }
    }
}
