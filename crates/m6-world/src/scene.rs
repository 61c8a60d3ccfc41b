//! The ground truth of a picture. Lengths are shares of the picture's side, x to the right and y down, from 0 to 1.

use serde::{Deserialize, Serialize};

use crate::words::{Color, Position, Shape, Size, Texture};

/// One drawn object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub shape: Shape,
    /// Its main colour by name.
    pub color: Color,
    /// The exact sRGB value of its main colour, a few levels from [`Color::rgb`].
    pub rgb: [u8; 3],
    /// How its body is filled.
    pub texture: Texture,
    /// Centre of its box, from the left.
    pub x: f64,
    /// Centre of its box, from the top.
    pub y: f64,
    /// Side of the unit square it is drawn in; the box is `size` times [`Shape::extent`].
    pub size: f64,
    /// Index of its group in [`Scene::groups`].
    pub group: usize,
}

impl Object {
    /// The tight box `[left, top, right, bottom]`; no pixel of the object lies outside.
    pub fn bounds(&self) -> [f64; 4] {
        let (w, h) = self.shape.extent();
        let (w, h) = (w * self.size / 2.0, h * self.size / 2.0);
        [self.x - w, self.y - h, self.x + w, self.y + h]
    }
}

/// Equal objects that stand together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What its objects are.
    pub shape: Shape,
    /// Their colour.
    pub color: Color,
    /// Their texture.
    pub texture: Texture,
    /// How many they are, 1 to 4.
    pub count: usize,
    /// Where they stand in the picture.
    pub position: Position,
    /// The size class of its largest object.
    pub size: Size,
}

/// The light ground behind the objects: one colour, or a gradient from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// sRGB of the first row.
    pub top: [u8; 3],
    /// sRGB of the last row.
    pub bottom: [u8; 3],
}

impl Ground {
    /// The ground's colour in row `y` of `height` rows.
    pub fn at(&self, y: usize, height: usize) -> [u8; 3] {
        let last = height.saturating_sub(1).max(1) as u32;
        let y = (y as u32).min(last);
        std::array::from_fn(|c| {
            let (top, bottom) = (u32::from(self.top[c]), u32::from(self.bottom[c]));
            ((top * (last - y) + bottom * y + last / 2) / last) as u8
        })
    }
}

/// Everything that is true of one picture: one group, or two groups of different shapes on facing sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// What lies behind.
    pub ground: Ground,
    /// One or two groups; number questions ask about the first.
    pub groups: Vec<Group>,
    /// Every object, group by group.
    pub objects: Vec<Object>,
}

impl Scene {
    /// How many objects of `shape` the picture shows.
    pub fn count(&self, shape: Shape) -> usize {
        self.objects.iter().filter(|o| o.shape == shape).count()
    }

    /// Whether an object of this shape and colour is in the picture.
    pub fn shows(&self, shape: Shape, color: Color) -> bool {
        self.objects
            .iter()
            .any(|o| o.shape == shape && o.color == color)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_starts_and_ends_with_its_colours() {
        let ground = Ground {
            top: [255, 250, 240],
            bottom: [200, 220, 255],
        };
        assert_eq!(ground.at(0, 64), ground.top);
        assert_eq!(ground.at(63, 64), ground.bottom);
        assert_eq!(ground.at(0, 1), ground.top);
    }

    #[test]
    fn truth_is_written_and_read_back_whole() {
        let scene = crate::World::new(3, 64)
            .picture(crate::Split::Train, 9)
            .scene;
        let text = serde_json::to_string(&scene).unwrap();
        assert!(text.contains("\"shape\":") && text.contains("\"position\":"));
        assert_eq!(serde_json::from_str::<Scene>(&text).unwrap(), scene);
    }
}
