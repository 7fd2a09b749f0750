package handshake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vector is a signed block of testdata/vectors.json, which vectors.py computes
// without our code.
type vector struct {
	Side   string
	Scheme int
	Seed   uint32
	Offset string // hex, the four bytes that place the digest; empty: as they come
	At     int
	Digest string
	SHA256 string `json:"block_sha256"`
	Proof  string
}

// noise is the generator of vectors.py.
func noise(seed uint32, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1103515245 + 12345
		b[i] = byte(seed >> 16)
	}
	return b
}

func TestGoldenVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.Len(t, vectors, 24)

	for _, v := range vectors {
		scheme, short, other := Digest0, clientKey[:clientKeyShort], serverKey
		if v.Scheme == 1 {
			scheme = Digest1
		}
		if v.Side == "server" {
			short, other = serverKey[:serverKeyShort], clientKey
		}
		block := noise(v.Seed, blockSize)
		if v.Offset != "" {
			at := map[Scheme]int{Digest0: 772, Digest1: 8}[scheme]
			_, err := hex.Decode(block[at:], []byte(v.Offset))
			require.NoError(t, err)
		}

		require.Equal(t, v.At, digestAt(block, scheme))
		sign(block, scheme, short)
		require.Equal(t, v.Digest, hex.EncodeToString(block[v.At:v.At+digestSize]))
		sum := sha256.Sum256(block)
		require.Equal(t, v.SHA256, hex.EncodeToString(sum[:]))

		found, digest := findDigest(block, short)
		require.Equal(t, scheme, found)
		require.Equal(t, v.Digest, hex.EncodeToString(digest))

		random := noise(v.Seed+100, proofSize)
		answer := appendProof(nil, digest, other, random)
		require.Len(t, answer, blockSize)
		require.Equal(t, random, answer[:proofSize])
		require.Equal(t, v.Proof, hex.EncodeToString(answer[proofSize:]))
	}
}

// A block is signed as a whole: no byte of it can change unnoticed.
func TestEveryByteIsSigned(t *testing.T) {
	key := clientKey[:clientKeyShort]
	for _, s := range []Scheme{Digest0, Digest1} {
		block := noise(7, blockSize)
		sign(block, s, key)
		for i := range block {
			block[i] ^= 0x10
			found, _ := findDigest(block, key)
			require.Equal(t, Simple, found, "byte %d", i)
			block[i] ^= 0x10
		}
		found, _ := findDigest(block, serverKey[:serverKeyShort])
		require.Equal(t, Simple, found, "signed by the other side")
	}
}

// captured returns what the client and the server sent in a captured session.
func captured(t testing.TB, name string) (c2s, s2c []byte) {
	t.Helper()
	base := filepath.Join("..", "..", "..", "testdata", "captures", name)
	c2s, err := os.ReadFile(base + ".c2s")
	require.NoError(t, err)
	s2c, err = os.ReadFile(base + ".s2c")
	require.NoError(t, err)
	return c2s, s2c
}

// captures has the form of the handshake in each captured session.
var captures = map[string]Scheme{
	"ffmpeg5-h264-aac":         Digest1,
	"ffmpeg7-audio-mp3":        Digest1,
	"ffmpeg7-av1-aac":          Digest1,
	"ffmpeg7-h264-bframes-aac": Digest1,
	"ffmpeg7-hevc-aac":         Digest1,
	"obs30-h264-aac":           Simple,
	"play-ffmpeg5":             Digest1,
	"play-rtmpdump":            Simple,
	"play-vlc":                 Digest1,
}

func TestCapturesAreComplete(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "testdata", "captures", "*.c2s"))
	require.NoError(t, err)
	for _, f := range files {
		require.Contains(t, captures, strings.TrimSuffix(filepath.Base(f), ".c2s"))
	}
	require.Len(t, files, len(captures))
}

// Real clients and a real server sign C1, S1, C2 and S2 as we understand it.
func TestDigestsOfCaptures(t *testing.T) {
	for name, scheme := range captures {
		t.Run(name, func(t *testing.T) {
			c2s, s2c := captured(t, name)
			c1, c2 := c2s[1:1+blockSize], c2s[1+blockSize:1+2*blockSize]
			s1, s2 := s2c[1:1+blockSize], s2c[1+blockSize:1+2*blockSize]

			found, c1Digest := findDigest(c1, clientKey[:clientKeyShort])
			require.Equal(t, scheme, found)
			found, s1Digest := findDigest(s1, serverKey[:serverKeyShort])
			require.Equal(t, scheme, found)
			if scheme == Simple {
				require.Equal(t, c1, s2)
				require.Equal(t, s1, c2)
				return
			}
			require.Equal(t, proof(s2[:proofSize], c1Digest, serverKey), s2[proofSize:])
			if !strings.HasPrefix(name, "play-") {
				require.Equal(t, s1, c2, "ffmpeg signs C2 as a player only")
				return
			}
			require.Equal(t, proof(c2[:proofSize], s1Digest, clientKey), c2[proofSize:])
		})
	}
}
