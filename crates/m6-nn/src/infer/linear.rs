//! Row-invariant linear map and layer normalisation.
