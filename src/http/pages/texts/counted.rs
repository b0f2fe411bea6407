//! Words that depend on a number.

/// Words for one and for several, of which `{}` is the number.
#[derive(Debug)]
pub struct Counted {
    pub one: &'static str,
    pub many: &'static str,
}

impl Counted {
    /// The words for so many.
    pub fn of(&self, count: u64) -> String {
        if count == 1 { self.one.to_owned() } else { self.many.replace("{}", &count.to_string()) }
    }
}
