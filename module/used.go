package module

// maxUsed bounds how many modules are kept only because Envoys report that they
// may fetch them again.
const maxUsed = 256

// nameUsed adds modules that are kept only for that reason. Modules that are not
// in the store do not count towards the bound.
func (l *resolution) nameUsed(names map[string]bool) {
	used := l.Used()
	if len(used) == 0 {
		return
	}
	here, left := l.Store.names(), maxUsed
	for _, sum := range used {
		if left > 0 && here[sum] && !names[sum] {
			names[sum] = true
			left--
		}
	}
}
