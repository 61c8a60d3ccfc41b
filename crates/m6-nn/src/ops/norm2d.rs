//! Normalisation, pooling and rearrangement of feature maps.
