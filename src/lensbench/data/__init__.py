"""From a source to prepared Arrow files: locate, lay out, plan, build, store, load."""
