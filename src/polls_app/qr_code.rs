//! QR codes of links (ISO/IEC 18004), as SVG and PNG.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode, types::QrError};

/// The light margin around a code, in modules.
const MARGIN: usize = 4;
/// The width of a module in a PNG, in pixels.
const SCALE: usize = 16;

/// The QR code of a text.
#[derive(Debug)]
pub struct LinkCode {
    /// The width without the margin, in modules.
    width: usize,
    /// The modules, row by row: whether they are dark.
    modules: Vec<bool>,
}

impl LinkCode {
    /// The code of a text, of which up to 15 % may be unreadable.
    ///
    /// # Errors
    /// When the text is too long, with over 2,300 bytes.
    pub fn new(text: &str) -> Result<Self, QrError> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
        Ok(Self {
            width: code.width(),
            modules: code
                .to_colors()
                .into_iter()
                .map(|color| color == Color::Dark)
                .collect(),
        })
    }

    /// The width with the margin, in modules.
    pub fn size(&self) -> usize {
        self.width + 2 * MARGIN
    }

    /// The dark modules as the data of an SVG path, in modules from the corner of the margin.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for (row, modules) in self.modules.chunks(self.width).enumerate() {
            let y = row + MARGIN;
            let mut column = 0;
            for run in modules.chunk_by(|one, next| one == next) {
                if run[0] {
                    let (x, length) = (column + MARGIN, run.len());
                    write!(path, "M{x} {y}h{length}v1h-{length}z").expect("a string takes all");
                }
                column += run.len();
            }
        }
        path
    }

    /// An SVG document.
    pub fn svg(&self) -> String {
        let (size, path) = (self.size(), self.path());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/><path d=\"{path}\"/></svg>\n"
        )
    }

    /// A PNG image.
    ///
    /// # Errors
    /// None: writing to memory does not fail.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let width = self.size() * SCALE;
        let mut pixels = vec![255; width * width];
        for (index, _) in self.modules.iter().enumerate().filter(|(_, dark)| **dark) {
            let (row, column) = (index / self.width + MARGIN, index % self.width + MARGIN);
            for y in row * SCALE..(row + 1) * SCALE {
                let start = y * width + column * SCALE;
                pixels[start..start + SCALE].fill(0);
            }
        }
        let mut image = Vec::new();
        let mut encoder = png::Encoder::new(&mut image, width as u32, width as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header()?.write_image_data(&pixels)?;
        Ok(image)
    }
}
