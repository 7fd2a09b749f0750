// What a <video> shows.

// freeze draws the picture that stands now over the video, instead of a black hole.
export function freeze(video, still) {
  if (!video.videoWidth) return;
  still.width = video.videoWidth;
  still.height = video.videoHeight;
  still.getContext('2d').drawImage(video, 0, 0);
  still.hidden = false;
}

// frames counts the pictures since the video began.
export function frames(video) {
  const q = video.getVideoPlaybackQuality?.();
  return { decoded: q?.totalVideoFrames ?? 0, dropped: q?.droppedVideoFrames ?? 0 };
}

// Meter tells what a video shows at a moment, as plain numbers.
export class Meter {
  #seen = []; // {at, decoded} of the last second

  // look is to be called a few times a second; fps is what was shown since about a second.
  look(video, now) {
    const { decoded, dropped } = frames(video), seen = this.#seen;
    if (decoded < seen.at(-1)?.decoded) seen.length = 0; // another file
    seen.push({ at: now, decoded });
    while (seen.length > 2 && now - seen[1].at > 1000) seen.shift();
    const [{ at, decoded: before }] = seen;
    return {
      width: video.videoWidth, height: video.videoHeight, decoded, dropped,
      fps: video.videoWidth && now > at ? (decoded - before) * 1000 / (now - at) : NaN,
    };
  }
}
