"""The command `doctor`: checks every link from Claude Code to the topic, with advice for each fault."""
