"""People answer: the server of the annotation page, the answers it keeps, and what the driver makes of them."""
