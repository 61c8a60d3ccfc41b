//! Stock compositions of attention and of the operators on feature maps.
