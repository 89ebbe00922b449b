//! What a panic that was caught has to say.

use std::any::Any;

/// The message of a caught panic.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_formatted_messages_are_read_and_other_payloads_have_none() {
        let said = |panics: fn()| message(&*std::panic::catch_unwind(panics).unwrap_err()).to_owned();
        assert_eq!(said(|| panic!("plainly")), "plainly");
        assert_eq!(said(|| panic!("of {}", 7)), "of 7");
        assert_eq!(said(|| std::panic::panic_any(7)), "no message");
    }
}
