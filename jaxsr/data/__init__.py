"""Where images come from, which patches are cut from them, and two ways of cutting."""
