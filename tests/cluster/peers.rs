//! Who is let in, and what those who are let in can't do to the others.

mod certificates;
mod hostile;
