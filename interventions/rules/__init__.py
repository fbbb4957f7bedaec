"""Which words are no pronoun, or no title, of one person: rules on the text beside them, one to a file."""
