//! Pixels, safely: decode under limits, resize, patches, grids, a canvas to draw on.
