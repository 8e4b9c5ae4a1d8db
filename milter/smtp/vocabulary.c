/* vocabulary */
#include "relaypool.h"
