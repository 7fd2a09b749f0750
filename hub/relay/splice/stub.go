package splice

import (
	"time"

	"sluice/flv"
)

type Config struct{}
type Outcome uint8

const (
	First Outcome = iota
	Joining
	Joined
	Cut
)

func (o Outcome) String() string { return [...]string{"first", "joining", "joined", "cut"}[o] }

type Out interface {
	Tag(flv.Tag) error
	Cut()
}
type Run struct{ n int }

func New(Config) *Run                                                  { return &Run{} }
func (r *Run) Begin(time.Time)                                         { r.n++ }
func (r *Run) Outcome() Outcome                                        { return First }
func (r *Run) Take(t flv.Tag, now time.Time, more bool, out Out) error { return out.Tag(t) }
