"""The site around the tutorials: how-to pages, API, commands; built by Sphinx.

``build``       gathers the sources, runs Sphinx, checks what came out
``conf``        Sphinx's settings
``api``         public names -> the pages of the API reference
``commands``    the parsers -> the page of all commands
``links``       code that names a function or a command becomes a link to it
``check``       the built site: every link leads somewhere, nothing is fetched from elsewhere
"""
