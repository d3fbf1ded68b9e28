"""PNG, JPEG, WebP and EXIF, read and written without decoding a pixel."""
