"""The studio: one local web application to look at plans, change them and draw them again."""
