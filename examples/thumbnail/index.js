// Makes thumbnails of a photograph.
//
// Event:  {"image": "<base64>", "widths": [128, 320], "format": "webp"}
// Result: {"source": {...}, "thumbnails": [{"width", "height", "bytes", "image"}]}
'use strict';

const sharp = require('sharp');

// One image at a time per instance: the platform adds instances, not threads.
sharp.concurrency(1);
sharp.cache(false);

const formats = new Set(['webp', 'jpeg', 'png']);

exports.handler = async (event) => {
  if (typeof event.image !== 'string') {
    throw new TypeError('image: a photograph in base64 is needed');
  }
  const format = event.format ?? 'webp';
  if (!formats.has(format)) {
    throw new RangeError(`format: ${format} is not one of ${[...formats].join(', ')}`);
  }
  const photograph = Buffer.from(event.image, 'base64');
  const { width, height, format: from } = await sharp(photograph).metadata();
  console.log(`source is ${from}, ${width} x ${height}, ${photograph.length} bytes`);

  const thumbnails = [];
  for (const w of event.widths ?? [128]) {
    const { data, info } = await sharp(photograph).rotate().resize({ width: w }).toFormat(format).toBuffer({ resolveWithObject: true });
    thumbnails.push({ width: info.width, height: info.height, bytes: info.size, image: data.toString('base64') });
  }
  return { source: { width, height, format: from, bytes: photograph.length }, thumbnails };
};
