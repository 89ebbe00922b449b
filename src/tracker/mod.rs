//! One stream's memory and identities.
