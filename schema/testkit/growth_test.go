package testkit

import "testing"

func TestGrowthTellsSquaresFromLines(t *testing.T) {
	t.Parallel()
	var sum int
	work := func(steps func(size int) int) func(int) func() {
		return func(size int) func() {
			return func() {
				for i := range steps(size) {
					sum += i ^ sum
				}
			}
		}
	}
	if parts, whole := growth(1000, work(func(size int) int { return size * size })); whole <= steep*parts {
		t.Errorf("the square of 1,000 eight times takes %s, that of 8,000 %s: not told", parts, whole)
	}
	if parts, whole := growth(1_000_000, work(func(size int) int { return size })); whole > steep*parts {
		t.Errorf("1,000,000 steps eight times take %s, 8,000,000 %s: told as more than that", parts, whole)
	}
}
