// The picture that is shown, as a file.

import { el } from './dom.js';
import { fileStem } from './format.js';

// save has the browser download the picture as PNG, as large as it is encoded, and returns
// the file's name, '' if there is no picture. still is what stands over the video, if it
// does.
export async function save(video, still, name) {
  const picture = still && !still.hidden ? still : video;
  const width = picture.videoWidth ?? picture.width, height = picture.videoHeight ?? picture.height;
  if (!width || !height) return '';
  const canvas = el('canvas', { width, height });
  canvas.getContext('2d').drawImage(picture, 0, 0);
  const blob = await new Promise((made) => { canvas.toBlob(made, 'image/png'); });
  if (!blob) return '';
  const url = URL.createObjectURL(blob);
  const link = el('a', { href: url, download: `${fileStem(name)}-${stamp(new Date())}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  return link.download;
}

// stamp tells a time in a file's name, as the visitor's clock does.
function stamp(date) {
  const two = (n) => String(n).padStart(2, '0');
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(two).join('-')
    + '-' + [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join('');
}
