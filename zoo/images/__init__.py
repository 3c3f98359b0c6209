"""Images: folders, label files, decoding and checks of a data set."""
