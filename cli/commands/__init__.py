"""The commands of `zoo`: each reads options, calls the library and prints."""
