//! Two teams with the same names, asked from everywhere.
