//! Two-dimensional convolution by strips of im2col and gemm.
